-- The next known queues by name, whether each is paused, and who paused it, why and when. A process
-- of an older version that resumed it has left the last three as they were. Without a limit (null):
-- all that follow.
select
    name, paused,
    case when paused then paused_by end as paused_by,
    case when paused then paused_reason end as paused_reason,
    case when paused then paused_at end as paused_at
from leaseq.queues
where name > %(after)s::text
order by name
limit %(limit)s
