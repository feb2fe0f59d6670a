-- Every task, as it is at the end of a run. Times in seconds since 1970.
select id::text as task_id, tenant, type, queue, priority, state, attempt, retry_count, crash_count, loss_count, worker_id, idempotency_key,
    max_attempts, error ->> 'code' as error_code,
    extract(epoch from created_at)::float8 as created_at, extract(epoch from run_at)::float8 as run_at,
    extract(epoch from started_at)::float8 as started_at, extract(epoch from finished_at)::float8 as finished_at
from leaseq.tasks order by id
