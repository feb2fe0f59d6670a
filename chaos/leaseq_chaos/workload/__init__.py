"""The workload: what clients ask of the system, and what its handlers do with the database of their own."""
