-- Every task: what became of it, and how many seconds that took since it was recorded.
select
    id::text as task_id,
    type,
    state,
    payload,
    result,
    extract(epoch from finished_at - created_at)::float8 as seconds
from leaseq.tasks
