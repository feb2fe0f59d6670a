"""Checks that the servers are configured so that the guarantees hold."""
