"""The ledger (Postgres): the authority on what a task is, and on whether a write counts."""
