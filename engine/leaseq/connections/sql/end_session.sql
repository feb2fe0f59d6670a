-- End the session of a connection that was closed while a statement of it went on: a cancellation
-- that it ignores does not end it, and it keeps its locks. Zero rows: it has ended. Pid and
-- beginning together name a session, since a pid is used again.
select pg_terminate_backend(a.pid) as ended
from pg_stat_get_activity(%(pid)s::integer) as a
where extract(epoch from a.backend_start)::text = %(began)s
