-- Every known queue, whether it is paused, and who paused it, why and when. A process of an older
-- version that resumed it has left the last three as they were.
select
    name, paused,
    case when paused then paused_by end as paused_by,
    case when paused then paused_reason end as paused_reason,
    case when paused then paused_at end as paused_at
from leaseq.queues
order by name
