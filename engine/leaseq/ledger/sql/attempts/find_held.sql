-- Find the tasks among these that a worker holds, with everything that settling them as lost needs.
-- Zero rows: none.
select id::text as task_id, attempt, worker_id, retry_count, crash_count, loss_count, max_attempts, traits
from leaseq.tasks
where id = any(%(ids)s::uuid[]) and worker_id = %(worker_id)s and state = 'PROCESSING'
