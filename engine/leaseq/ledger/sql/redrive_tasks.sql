-- redrive: FAILED, CANCELLED -> PENDING, by an operator; or with `waits` -> SCHEDULED and due, for a lane that is full: promote brings
-- it in where there is room, whereas the push of a task that is much older than a backlog would let that begin again, far back.
-- Counts start at zero again; the attempt (the fence) goes on.
-- Zero rows for an id: no such task in this tenant, or it is in another state.
-- A cancel that met a settle may have left a row in `scheduled` that it could not see. It is locked first and the task second, as
-- promote does, and is replaced or deleted. Each kind of row is locked in order of id, so that two batches over the same rows wait for
-- each other instead of deadlocking.
with left_over as materialized (
    select task_id from leaseq.scheduled
    where task_id = any(%(ids)s::uuid[])
    order by task_id
    for update
), found as materialized (
    select id from leaseq.tasks
    where id = any(%(ids)s::uuid[]) and tenant = %(tenant)s and state in ('FAILED', 'CANCELLED')
        and (select count(*) from left_over) >= 0
    order by id
    for update
), redriven as (
    update leaseq.tasks as t
    set state = case when %(waits)s then 'SCHEDULED' else 'PENDING' end,
        retry_count = 0, crash_count = 0, loss_count = 0, hand_back_count = 0, run_at = now(),
        finished_at = null, cancel_requested_at = null, expires_at = null, error = null
    from found
    where t.id = found.id
    returning t.id, t.queue, t.state, t.attempt, t.worker_id, t.priority, t.crash_count, t.loss_count, t.run_at
), waiting as (
    insert into leaseq.scheduled (task_id, run_at, queue, priority)
    select id, run_at, queue, priority from redriven where state = 'SCHEDULED'
    on conflict (task_id) do update
    set run_at = excluded.run_at, queue = excluded.queue, priority = excluded.priority, awaited_type = null
), gone as (
    delete from leaseq.scheduled as s
    using redriven
    where s.task_id = redriven.id and redriven.state = 'PENDING'
)
select id::text, queue, state, attempt, worker_id, priority, crash_count, loss_count from redriven
