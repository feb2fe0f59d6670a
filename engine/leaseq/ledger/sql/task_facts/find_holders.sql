-- Read these workers, open or closed. Zero rows for an id: it was never opened, or is pruned.
select
    id as worker_id, host, pid, queues, version, started_at, leaseq.last_seen(id) as last_seen, closed_at, close_reason
from leaseq.workers
where id = any(%(worker_ids)s::text[])
