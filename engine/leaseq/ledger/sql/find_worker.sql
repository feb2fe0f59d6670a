-- One incarnation. Zero rows: unknown (never opened, or pruned).
select id, host, pid, queues, version, started_at, leaseq.last_seen(id), closed_at, close_reason
from leaseq.workers
where id = %(worker_id)s
