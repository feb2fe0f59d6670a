-- Find the workers whose rows, or whose heartbeats, another transaction has locked. It is asked
-- after a heartbeat, a claim or a closing has waited too long for a lock, and before a closing.
-- Waits for no row. No transition. The free rows are locked until the end of this statement, which
-- distinguishes them. Zero rows: none of them is locked, the lock was released, or the lock is on a
-- table.
with free as materialized (
    select id from leaseq.workers
    where id = any(%(worker_ids)s)
    for no key update skip locked
), free_beats as materialized (
    select worker_id from leaseq.heartbeats
    where worker_id = any(%(worker_ids)s)
    for update skip locked
)
select w.id from leaseq.workers as w
where w.id = any(%(worker_ids)s) and (
    not exists (select from free where free.id = w.id)
    or exists (select from leaseq.heartbeats as h where h.worker_id = w.id)
    and not exists (select from free_beats where free_beats.worker_id = w.id)
)
