"""Checks on every request before routing."""
