"""The HTTP service of leaseq."""
