-- Record by the clock of this server that these workers are alive. One that does not come back was
-- closed: it must stop. The row of the worker is locked, not changed: a closing waits for us or we
-- for it (close_worker.sql). Only its heartbeat changes, and with that the key of it, so that the
-- newest version is found without those before (migration 11).
with alive as materialized (
    select id from leaseq.workers
    where id = any(%(worker_ids)s) and closed_at is null
    order by id
    for no key update
), newest as materialized (
    select alive.id, last.seen_at from alive
    left join lateral (
        select h.seen_at from leaseq.heartbeats as h where h.worker_id = alive.id order by h.seen_at desc limit 1
    ) as last on true
), moved as (
    update leaseq.heartbeats as h set seen_at = now()
    from newest
    where h.worker_id = newest.id and h.seen_at = newest.seen_at
), begun as (
    insert into leaseq.heartbeats (worker_id)
    select id from newest where seen_at is null
)
select id from alive
