-- Read these tasks with all columns, in one tenant (in any: null). Zero rows for an id: there is no
-- such task. The array of ids stands in a subquery, for the reason in submit_tasks.sql.
select
    id::text as task_id, tenant, queue, type, state, priority, attempt, retry_count, crash_count, loss_count, max_attempts,
    timeout_seconds, idempotency_key, created_at, run_at, started_at, finished_at, expires_at, cancel_requested_at,
    worker_id, error::text, progress::text, hand_back_count, payload::text, result::text, erased_at, key_freed_at,
    (select json_object_agg(l.name, l.value)::text from leaseq.labels as l where l.task_id = tasks.id) as labels,
    limit_name, concurrency_key,
    case when traits & 1 = 1 and state = 'SCHEDULED' then (
        select l.due from leaseq.limited as l where l.task_id = tasks.id
    ) end as in_line,
    unique_key, unique_hold,
    case when unique_key is not null then exists (
        select from leaseq.uniques as u
        where u.tenant = tasks.tenant and u.type = tasks.type and u.hold = tasks.unique_hold and u.key = tasks.unique_key and u.task_id = tasks.id
    ) end as has_unique_key
from leaseq.tasks
where id = any((select %(ids)s::uuid[])::uuid[]) and (%(tenant)s::text is null or tenant = %(tenant)s)
