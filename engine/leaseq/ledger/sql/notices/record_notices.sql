-- Record what one process noticed. `ages` are the seconds since each event, so that its time is one
-- of this server. Sent again after a lost answer, it may record a notice twice. Returns no rows.
insert into leaseq.notices (at, name, level, role, host, pid, queue, task_id, worker_id, fields, count)
select
    clock_timestamp() - make_interval(secs => n.age), n.name, n.level, %(role)s, %(host)s, %(pid)s, n.queue, n.task_id, n.worker_id,
    n.fields, n.more
from unnest(
    %(ages)s::float8[], %(names)s::text[], %(levels)s::text[], %(queues)s::text[], %(task_ids)s::uuid[], %(worker_ids)s::text[],
    %(fields)s::json[], %(counts)s::integer[]
) as n (age, name, level, queue, task_id, worker_id, fields, more)
