"""The ledger in Postgres, the authority on tasks and on whether a write counts."""
