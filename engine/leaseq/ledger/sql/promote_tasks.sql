-- promote: SCHEDULED -> PENDING, for what is due by the clock of this server in one queue, at one priority, the longest due
-- first. Several reapers share the work (skip locked). `after_at` and `after_id` are where the last batch ended: what was deleted
-- before them a moment ago lies in the index still, and is not gone through again for every batch.
-- Zero rows: nothing is due there. A due row whose task is no longer SCHEDULED is only removed. A task that was
-- submitted inside a caller's own transaction makes its queue known here.
with due as (
    select task_id, run_at from leaseq.scheduled
    where queue = %(queue)s and priority = %(priority)s and run_at <= now()
        and (run_at, task_id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
    order by run_at, task_id
    limit %(limit)s
    for update skip locked
), gone as (
    delete from leaseq.scheduled as s
    using due
    where s.task_id = due.task_id
    returning s.task_id, s.run_at, 'SCHEDULED' as state -- a column and not a constant for the reason told in claim_tasks.sql
), promoted as (
    update leaseq.tasks as t
    set state = 'PENDING'
    from gone
    where t.id = gone.task_id and t.state = gone.state
    returning t.id, t.queue, t.state, t.attempt, t.worker_id, t.priority, t.crash_count, t.loss_count, gone.run_at
), named as (
    insert into leaseq.queues (name)
    select distinct queue from promoted order by queue
    on conflict (name) do nothing
)
select p.id::text, p.queue, p.state, p.attempt, p.worker_id, p.priority, p.crash_count, p.loss_count, p.run_at
from promoted as p
order by p.run_at, p.id
