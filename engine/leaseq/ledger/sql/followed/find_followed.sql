-- Read the columns of these tasks that change after the submission, in any tenant, and the version
-- of each row (find_changed.sql). Zero rows for an id: there is no such task.
-- The array of ids stands in a subquery, for the reason in submit_tasks.sql.
select
    xmin::text as version, id::text as task_id, tenant, queue, type, state, attempt, retry_count, created_at, run_at,
    started_at, finished_at, cancel_requested_at, erased_at, worker_id, error::text, progress::text, result::text
from leaseq.tasks
where id = any((select %(ids)s::uuid[])::uuid[])
