-- Read the pid and the start of the session that asks. A pid alone does not identify it: the
-- operating system gives it to another process later.
select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()
