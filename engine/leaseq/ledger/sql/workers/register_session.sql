-- Record a session that handlers of a worker use, so that the recovery can end it
-- (end_sessions.sql) under any name that a handler gives it. The worker's row is locked against the
-- recovery that would close it: a session is recorded before the recovery looks, or not at all.
-- Sessions of the same worker that have ended are forgotten. Zero rows: the worker is closed.
with me as (
    select id from leaseq.workers
    where id = %(worker_id)s and closed_at is null
    for share
), forgotten as (
    delete from leaseq.sessions as s
    using me
    where s.worker_id = me.id and s.pid <> %(pid)s::integer
        and not exists (select from pg_stat_get_activity(s.pid))
)
insert into leaseq.sessions (worker_id, pid, backend_start)
select id, %(pid)s::integer, %(backend_start)s::timestamptz from me
on conflict (worker_id, pid) do update set backend_start = excluded.backend_start
returning pid
