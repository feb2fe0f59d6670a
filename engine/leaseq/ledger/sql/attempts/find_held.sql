-- What does a worker hold of these ids, with all that is needed to settle it as lost? Zero rows:
-- nothing.
select id::text as task_id, attempt, worker_id, retry_count, crash_count, loss_count, max_attempts
from leaseq.tasks
where id = any(%(ids)s::uuid[]) and worker_id = %(worker_id)s and state = 'PROCESSING'
