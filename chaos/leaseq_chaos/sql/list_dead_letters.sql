-- Every dead letter, as it is at the end of a run. The time in seconds since 1970.
select task_id::text as task_id, tenant, queue, type, code, extract(epoch from failed_at)::float8 as failed_at
from leaseq.dead_letters order by task_id
