-- The number of unfinished tasks that are listed, by tenant and queue. Those of tenants without a quota
-- are left over from a quota that was removed.
select tenant, queue, sum(tasks)::bigint as tasks
from leaseq.unfinished_counts
group by tenant, queue
having sum(tasks) <> 0
