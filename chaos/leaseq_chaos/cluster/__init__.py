"""The system under test, as real processes on this machine: two stores, services, and a proxy on every way between them."""
