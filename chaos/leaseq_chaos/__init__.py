"""The chaos suite of leaseq: break a running system, and judge its history."""
