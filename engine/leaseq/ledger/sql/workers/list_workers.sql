-- List workers, newest first: the open ones, or with `closed` the closed ones too.
select
    id as worker_id, host, pid, queues, version, started_at, leaseq.last_seen(id) as last_seen, closed_at, close_reason
from (
    select id, host, pid, queues, version, started_at, closed_at, close_reason from leaseq.workers
    where closed_at is null or %(closed)s
    order by started_at desc
    limit %(limit)s
) as w
order by started_at desc
