"""Keep worker processes alive and hold their leases."""
