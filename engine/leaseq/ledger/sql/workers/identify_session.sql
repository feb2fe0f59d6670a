-- What identifies the session that asks. A pid alone does not: the operating system gives it to
-- another process later.
select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()
