-- What a killed worker held: how many of its attempts were lost, how many of those tasks were
-- started again, how many have ended since; after how many seconds the last of them was back in its
-- queue, and started again; and how many have not been recovered yet. One row.
with lost as (
    select
        attempts.task_id,
        attempts.finished_at as returned_at,
        coalesce(following.started_at, tasks.started_at) as restarted_at,
        tasks.finished_at
    from leaseq.attempts
    left join leaseq.attempts following
        on following.task_id = attempts.task_id and following.attempt = attempts.attempt + 1
    left join leaseq.tasks on tasks.id = attempts.task_id and tasks.attempt > attempts.attempt
    where attempts.outcome = 'lost' and attempts.worker_id = any(%(workers)s)
)
select
    count(*) as lost,
    count(restarted_at) as restarted,
    count(finished_at) as finished,
    coalesce(extract(epoch from max(returned_at) - %(killed_at)s), 0)::float8 as return_seconds,
    coalesce(extract(epoch from max(restarted_at) - %(killed_at)s), 0)::float8 as restart_seconds,
    (
        select count(*) from leaseq.tasks where worker_id = any(%(workers)s) and state = 'PROCESSING'
    ) as still_held
from lost
