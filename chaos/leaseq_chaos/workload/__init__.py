"""The workload: requests of clients, and the handlers with their database."""
