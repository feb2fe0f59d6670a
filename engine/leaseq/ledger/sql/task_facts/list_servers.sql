-- List the open workers, those that serve this queue first, at most `limit`, each with its types
-- (null: it has registered none in a way that is known here) and whether the task type is among
-- them. `silent_seconds` is the time since its last heartbeat, by the clock of this server. Zero
-- rows: no worker is open.
select
    w.worker_id, w.host, w.pid, w.queues[1:20] as queues, w.serves, w.open_count, w.serving_count,
    extract(epoch from clock_timestamp() - leaseq.last_seen(w.worker_id))::double precision as silent_seconds,
    known.types,
    case when known.types is not null then exists (
        select from leaseq.worker_types as u where u.worker_id = w.worker_id and u.type = %(type)s
    ) end as knows
from (
    select
        id as worker_id, host, pid, queues, %(queue)s = any(queues) as serves, started_at,
        count(*) over () as open_count, count(*) filter (where %(queue)s = any(queues)) over () as serving_count
    from leaseq.workers
    where closed_at is null
    order by %(queue)s = any(queues) desc, started_at desc
    limit %(limit)s
) as w
cross join lateral (
    select array_agg(u.type order by u.type) as types
    from (select type from leaseq.worker_types where worker_id = w.worker_id order by type limit 20) as u
) as known
order by w.serves desc, w.started_at desc
