-- terminate sessions: end these backends (pids: int[]); one that is gone already is no error.
select pg_terminate_backend(pid) from unnest(%(pids)s::int[]) as pid
