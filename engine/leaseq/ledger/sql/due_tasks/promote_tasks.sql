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
-- meanwhile writes its own `run_at` into the row, and the task waits for that. One row for each
-- lane: the place in `scheduled` that its tasks came from, and their ids as one text with commas.
-- A row for each task would cost the reaper more than the transition costs Postgres.
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
        held.queue as place_queue, held.priority as place_priority,
        t.queue, t.priority, t.crash_count + t.loss_count >= %(suspect)s as is_suspect, t.id
), by_lane as materialized (
    select place_queue, place_priority, queue, priority, is_suspect, string_agg(id::text, ',') as ids
    from promoted
    group by place_queue, place_priority, queue, priority, is_suspect
), named as (
    insert into leaseq.queues (name)
    -- Known names are left out: the insertion would wait for a transaction that has changed the row of one.
    select distinct b.queue from by_lane as b
    where not exists (select from leaseq.queues as q where q.name = b.queue)
    order by b.queue
    on conflict (name) do nothing
)
select place_queue, place_priority, queue, priority, is_suspect, ids from by_lane
