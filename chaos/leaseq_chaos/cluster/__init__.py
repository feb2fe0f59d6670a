"""The system under test, as real processes: stores, services, and proxies."""
