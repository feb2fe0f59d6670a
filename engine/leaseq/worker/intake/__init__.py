"""Bring deliveries from dispatch to running attempts, and audit the lists."""
