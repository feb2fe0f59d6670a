"""Connections to Postgres and Redis, which lead to the servers that take writes."""
