-- Every known queue, and whether it may be forgotten if no task names it: it is not paused, has no
-- limit, and no open worker serves it. Zero rows: no queue is known.
select q.name, not q.paused and q.name not in (
    select unnest(w.queues) from leaseq.workers as w where w.closed_at is null
    union all
    select l.queue from leaseq.queue_limits as l where l.limit_id is not null
) as unserved
from leaseq.queues as q
