"""Limits on what a key may send and a tenant may have."""
