-- redrive: FAILED, CANCELLED -> PENDING, by an operator. Counts start anew; the attempt (the fence) goes on.
-- Zero rows for an id: no such task in this tenant, or it is in another state.
update leaseq.tasks
set state = 'PENDING', retry_count = 0, crash_count = 0, loss_count = 0, run_at = now(),
    finished_at = null, cancel_requested_at = null, expires_at = null, error = null
where id = any(%(ids)s::uuid[]) and tenant = %(tenant)s and state in ('FAILED', 'CANCELLED')
returning id::text, queue, state, attempt, worker_id, priority, crash_count, loss_count
