-- End the session that asks.
select pg_terminate_backend(pg_backend_pid())
