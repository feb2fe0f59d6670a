-- Find the tasks among these that this worker holds. It is asked after a claim whose answer was
-- lost on the way: a committed claim is taken up, not guessed at. Zero rows: the claim did not
-- happen, or was taken away since. `expired` as in claim_tasks.sql.
-- The array of ids stands in a subquery, for the reason in submit_tasks.sql.
select
    t.id::text, attempt, tenant, queue, type, payload::text, retry_count, crash_count, loss_count,
    max_attempts, timeout_seconds, headers::text,
    case when t.expires_at <= now() then coalesce((
        select false from leaseq.attempts as a
        where a.task_id = t.id and coalesce(a.error ->> 'code', '') not in ('unknown_type', 'other_version', 'isolated')
        limit 1
    ), true) else false end as expired, hand_back_count,
    greatest(date_part('epoch', t.started_at - t.run_at), 0) as waited, t.traits
from leaseq.tasks as t
where id = any((select %(ids)s::uuid[])::uuid[]) and worker_id = %(worker_id)s and state = 'PROCESSING'
