-- redrive: FAILED, CANCELLED -> PENDING, by an operator. Counts start anew; the attempt (the fence) goes on.
-- Zero rows for an id: no such task in this tenant, or it is in another state.
-- Locked in order of id first, so that two batches over the same rows wait for each other instead of deadlocking.
-- A cancel that met a settle may have left a row in `scheduled` that it could not see: it goes here, unless promote holds it, which
-- removes it itself (and locks that row first and the task second, so that waiting here would be a deadlock).
with found as (
    select id from leaseq.tasks
    where id = any(%(ids)s::uuid[]) and tenant = %(tenant)s and state in ('FAILED', 'CANCELLED')
    order by id
    for update
), free as (
    select s.task_id from leaseq.scheduled as s
    join found on s.task_id = found.id
    for update of s skip locked
), gone as (
    delete from leaseq.scheduled as s
    using free
    where s.task_id = free.task_id
)
update leaseq.tasks as t
set state = 'PENDING', retry_count = 0, crash_count = 0, loss_count = 0, hand_back_count = 0, run_at = now(),
    finished_at = null, cancel_requested_at = null, expires_at = null, error = null
from found
where t.id = found.id
returning t.id::text, t.queue, t.state, t.attempt, t.worker_id, t.priority, t.crash_count, t.loss_count
