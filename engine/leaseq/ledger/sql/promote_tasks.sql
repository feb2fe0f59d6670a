-- promote: SCHEDULED -> PENDING, for what is due by the clock of this server. Several reapers share the work
-- (skip locked). Zero rows: nothing is due. A due row whose task is no longer SCHEDULED is only removed. A task that was
-- submitted inside a caller's own transaction makes its queue known here.
with due as (
    select task_id from leaseq.scheduled
    where run_at <= now()
    order by run_at
    limit %(limit)s
    for update skip locked
), gone as (
    delete from leaseq.scheduled as s
    using due
    where s.task_id = due.task_id
    returning s.task_id, 'SCHEDULED' as state -- a column and not a constant for the reason told in claim_tasks.sql
), promoted as (
    update leaseq.tasks as t
    set state = 'PENDING'
    from gone
    where t.id = gone.task_id and t.state = gone.state
    returning t.id, t.queue, t.state, t.attempt, t.worker_id, t.priority, t.crash_count, t.loss_count
), named as (
    insert into leaseq.queues (name)
    select distinct queue from promoted order by queue
    on conflict (name) do nothing
)
select id::text, queue, state, attempt, worker_id, priority, crash_count, loss_count from promoted
