-- promote: SCHEDULED -> PENDING, for exactly the tasks that list_due.sql has named, if they are due
-- by the clock of this server and their rows in `scheduled` still have the `run_at` that it has
-- seen. A caller that misses the answer therefore knows which tasks this statement may have
-- promoted or may yet promote, however late it arrives. Once such a task has left SCHEDULED this
-- statement never takes it: a row that comes back has another `run_at`. A row that another
-- transaction has locked, in `scheduled` or in `tasks`, is skipped, so one locked task holds up no
-- other. Zero rows: nothing is left to promote, or another transaction has it. A row whose task is
-- no longer SCHEDULED is only deleted. A task that was submitted inside a caller's own transaction
-- makes its queue known here. The conditions are judged on both rows as they are when they are
-- locked. Another version than the snapshot's may be the newest one: a settle that commits
-- meanwhile writes its own `run_at` into the row, and the task waits for that.
with listed as materialized (
    select * from unnest(%(ids)s::uuid[], %(run_ats)s::timestamptz[]) as l (task_id, run_at)
), held as materialized (
    select s.task_id, s.run_at, s.queue, s.priority, t.state
    from listed
    join leaseq.scheduled as s on s.task_id = listed.task_id and s.run_at = listed.run_at
    join leaseq.tasks as t on t.id = s.task_id
    where s.run_at <= now()
    for update of s skip locked
    for no key update of t skip locked
), gone as (
    delete from leaseq.scheduled as s
    using held
    where s.task_id = held.task_id
), promoted as (
    update leaseq.tasks as t
    set state = 'PENDING'
    from held
    where t.id = held.task_id and held.state = 'SCHEDULED'
    returning
        t.id, t.queue, t.state, t.attempt, t.worker_id, t.priority, t.crash_count, t.loss_count,
        held.run_at, held.queue as place_queue, held.priority as place_priority
), named as (
    insert into leaseq.queues (name)
    -- Known names are left out: the insertion would wait for a transaction that has changed the row of one.
    select distinct p.queue from promoted as p
    where not exists (select from leaseq.queues as q where q.name = p.queue)
    order by p.queue
    on conflict (name) do nothing
)
select id::text as task_id, queue, state, attempt, worker_id, priority, crash_count, loss_count, run_at, place_queue, place_priority
from promoted
order by run_at, id
