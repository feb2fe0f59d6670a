-- Read these tasks with all columns, in one tenant. Zero rows for an id: there is no such task.
select
    id::text as task_id, tenant, queue, type, state, priority, attempt, retry_count, crash_count, loss_count, max_attempts,
    timeout_seconds, idempotency_key, created_at, run_at, started_at, finished_at, expires_at, cancel_requested_at,
    worker_id, error::text, progress::text, hand_back_count, payload::text, result::text
from leaseq.tasks
where id = any(%(ids)s::uuid[]) and tenant = %(tenant)s
