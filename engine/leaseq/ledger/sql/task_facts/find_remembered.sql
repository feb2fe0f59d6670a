-- Read the rest of a task that was pruned: its idempotency key, which outlives it. The key must
-- stand for this task. Zero rows: the key is unknown, or stands for another task.
select task_id::text, tenant, queue, final_state, created_at, expires_at, clock_timestamp() as now
from leaseq.idempotency_keys
where tenant = %(tenant)s and key = %(key)s and task_id = %(task_id)s
