-- Of some tasks, all in their first attempt when their worker was killed: how many were started
-- again, at most how often, and when the last of them was. One row.
select
    count(*) filter (where attempt > 1 and started_at > %(killed_at)s) as restarted,
    max(attempt) as most_attempts,
    coalesce(extract(epoch from max(started_at) filter (where attempt > 1) - %(killed_at)s), 0)::float8 as seconds
from leaseq.tasks
where id = any(%(task_ids)s::uuid[])
