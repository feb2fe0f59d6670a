"""The routes about failures, grouped by type and fingerprint."""
