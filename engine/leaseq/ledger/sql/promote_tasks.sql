-- promote: SCHEDULED -> PENDING, for what is due by the clock of this server in some places (a queue and a priority each), from a
-- position in each on, at most `limits` of them there, the longest due first. Several reapers share the work (skip locked).
-- Zero rows: nothing is due there, or another reaper has it. A due row whose task is no longer SCHEDULED is only removed. A task
-- that was submitted inside a caller's own transaction makes its queue known here.
-- Only rows that are still as the snapshot shows them are locked. The newest version of a row may be another one: a settle that
-- commits meanwhile writes its own `run_at` into it, and `promoted` judges the task by the snapshot. The row would be deleted, the
-- task would stay SCHEDULED, and no pass would look at it again.
with seen as materialized (
    select waiting.task_id, waiting.run_at, place.queue, place.priority
    from unnest(
        %(queues)s::text[], %(priorities)s::smallint[], %(from_ats)s::timestamptz[], %(from_ids)s::uuid[], %(limits)s::integer[]
    ) as place (queue, priority, from_at, from_id, most)
    cross join lateral (
        select s.task_id, s.run_at from leaseq.scheduled as s
        where s.queue = place.queue and s.priority = place.priority and s.run_at <= now()
            and (s.run_at, s.task_id) >= (place.from_at, place.from_id)
        order by s.run_at, s.task_id
        limit place.most
    ) as waiting
), counted as materialized (
    -- Of how many in the snapshot these were taken: the others are another reaper's.
    select queue, priority, count(*) from seen group by queue, priority
), due as (
    select s.task_id, s.run_at from leaseq.scheduled as s
    join seen on s.task_id = seen.task_id and s.run_at = seen.run_at
    for update of s skip locked
), gone as (
    delete from leaseq.scheduled as s
    using due
    where s.task_id = due.task_id
    -- The state is a column and not a constant for the reason told in claim_tasks.sql.
    returning s.task_id, s.run_at, s.queue, s.priority, 'SCHEDULED' as state
), promoted as (
    update leaseq.tasks as t
    set state = 'PENDING'
    from gone
    where t.id = gone.task_id and t.state = gone.state
    returning
        t.id, t.queue, t.state, t.attempt, t.worker_id, t.priority, t.crash_count, t.loss_count,
        gone.run_at, gone.queue as place_queue, gone.priority as place_priority
), named as (
    insert into leaseq.queues (name)
    select distinct queue from promoted order by queue
    on conflict (name) do nothing
)
select
    p.id::text, p.queue, p.state, p.attempt, p.worker_id, p.priority, p.crash_count, p.loss_count, p.run_at,
    p.place_queue, p.place_priority, counted.count
from promoted as p
join counted on counted.queue = p.place_queue and counted.priority = p.place_priority
order by p.run_at, p.id
