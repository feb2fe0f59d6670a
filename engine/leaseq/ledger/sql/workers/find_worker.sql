-- Read one worker. Zero rows: unknown (never opened, or pruned).
select
    id as worker_id, host, pid, queues, version, started_at, leaseq.last_seen(id) as last_seen, closed_at, close_reason
from leaseq.workers
where id = %(worker_id)s
