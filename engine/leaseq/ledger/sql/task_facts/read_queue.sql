-- Read the time by the clock of this server, and whether a queue is paused: by whose action, why and
-- when. One row always.
select
    clock_timestamp() as now,
    coalesce(q.paused, false) as paused,
    case when q.paused then q.paused_by end as paused_by,
    case when q.paused then q.paused_reason end as paused_reason,
    case when q.paused then q.paused_at end as paused_at
from (select) as one
left join leaseq.queues as q on q.name = %(queue)s
