-- expedite: make tasks due that wait because no worker knew their type, in the queues of a worker that knows it; their next hand-back
-- waits as briefly as a first one. No transition: they stay SCHEDULED until promote. At most `limit` rows.
-- Locks the scheduled row first and the task second, as promote does; what another process has locked, it makes due or promotes.
-- One row always, never zero rows: how many were made due. Zero says that none is left.
with awaiting as (
    select task_id from leaseq.scheduled
    where awaited_type = any(%(types)s::text[]) and queue = any(%(queues)s::text[]) and awaited_type is not null
    order by awaited_type, queue
    limit %(limit)s
    for update skip locked
), due as (
    update leaseq.scheduled as s
    set run_at = now(), awaited_type = null
    from awaiting
    where s.task_id = awaiting.task_id
    returning s.task_id, 'SCHEDULED' as state -- a column and not a constant for the reason told in claim_tasks.sql
), hastened as (
    update leaseq.tasks as t
    set run_at = now(), hand_back_count = 0
    from due
    where t.id = due.task_id and t.state = due.state
)
select count(*) from due
