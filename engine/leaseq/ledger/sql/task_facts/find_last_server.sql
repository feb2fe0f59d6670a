-- Read the worker that served a queue last, among those that are closed and not pruned. Zero rows:
-- there is none.
select
    id as worker_id, host, pid, queues, version, started_at, last_seen, closed_at, close_reason
from leaseq.workers
where closed_at is not null and %(queue)s = any(queues)
order by closed_at desc
limit 1
