-- Which of these tasks does this worker hold? Asked after a claim whose answer was lost on the way: what was committed
-- is taken up, not guessed at. Zero rows: the claim did not happen (or was taken away since).
select
    id::text, attempt, tenant, queue, type, payload::text, priority, retry_count, crash_count, loss_count,
    max_attempts, timeout_seconds, idempotency_key, headers::text, created_at, run_at,
    coalesce(expires_at <= now(), false) as expired
from leaseq.tasks
where id = any(%(ids)s::uuid[]) and worker_id = %(worker_id)s and state = 'PROCESSING'
