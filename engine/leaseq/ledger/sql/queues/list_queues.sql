-- The next known queues by name, whether each is paused, and who paused it, why and when. A process
-- of an older version that resumed it has left the last three as they were. `limit` is the limit that
-- its tasks take, and `fair` whether its tenants have turns. Without a limit (null): all that follow.
select
    q.name, q.paused,
    case when q.paused then q.paused_by end as paused_by,
    case when q.paused then q.paused_reason end as paused_reason,
    case when q.paused then q.paused_at end as paused_at,
    case when not l.fair then l.limit_name end as limit, coalesce(l.fair, false) as fair
from leaseq.queues as q
left join leaseq.queue_limits as l on l.queue = q.name
where q.name > %(after)s::text
order by q.name
limit %(limit)s
