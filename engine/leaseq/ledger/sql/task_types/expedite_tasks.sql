-- expedite: make tasks due that wait because no worker knew their type, in the queues of a worker
-- that knows it. Their next hand-back waits as briefly as a first one. A task that waits for
-- another version of its handler is found by its type and a number sign. No transition: they stay
-- SCHEDULED until promote. At most `limit` rows. Tasks that another transaction has locked, in
-- `scheduled` or in `tasks`, are skipped, so that one locked task holds up no other. Such a task
-- waits its backoff out. One row always, never zero rows: the number of tasks that were made due.
-- Zero says that none is left, or that others have locked the rest.
with awaiting as (
    select s.task_id, t.state from leaseq.scheduled as s
    join leaseq.tasks as t on t.id = s.task_id
    where s.awaited_type = any(%(types)s::text[]) and s.queue = any(%(queues)s::text[]) and s.awaited_type is not null
    order by s.awaited_type, s.queue
    limit %(limit)s
    for update of s skip locked
    for no key update of t skip locked
), due as (
    update leaseq.scheduled as s
    set run_at = now(), awaited_type = null
    from awaiting
    where s.task_id = awaiting.task_id
    returning s.task_id, awaiting.state
), hastened as (
    update leaseq.tasks as t
    set run_at = now(), hand_back_count = 0
    from due
    where t.id = due.task_id and due.state = 'SCHEDULED'
)
select count(*) from due
