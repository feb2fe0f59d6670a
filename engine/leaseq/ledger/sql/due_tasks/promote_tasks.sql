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
-- meanwhile writes its own `run_at` into the row, and the task waits for that. The locked rows are
-- updated and deleted by their physical place, which no other transaction can change, instead of by
-- a second look into each index. A version that is newer than the snapshot cannot be reached in
-- this way: such a task keeps its row in `scheduled`, for the next pass. The deletion takes its
-- rows as one array: a join would ask for the size of the table once for each row. One row for each
-- lane: the queue and priority in `scheduled` that its tasks came from, and their ids as one text
-- with commas. A row for each task would cost the reaper more than the transition costs Postgres.
-- The condition on the time is that of `listed`, which is equal: by the column of `scheduled`,
-- Postgres would read everything that is due for each batch, under a plan from the time when almost
-- nothing was. A task with a limit stays SCHEDULED: it waits in the line of its limit from now on, and
-- admit_tasks.sql promotes it. One whose row there is missing, because its limit was deleted or a process
-- of an older version ended it before, is promoted, and so is one that has kept its permit (strict order).
with listed as materialized (
    select * from unnest(%(ids)s::uuid[], %(run_ats)s::timestamptz[]) as l (task_id, run_at)
), held as materialized (
    select
        s.ctid as scheduled_place, t.ctid as task_place, s.queue, s.priority, t.state, t.id,
        coalesce(t.traits, 0) & 1 = 1 as has_limit,
        coalesce(t.traits, 0) & 1 = 1
            and exists (select from leaseq.limited as l where l.task_id = t.id and l.admitted_at is null) as is_limited
    from listed
    join leaseq.scheduled as s on s.task_id = listed.task_id and s.run_at = listed.run_at
    join leaseq.tasks as t on t.id = s.task_id
    where listed.run_at <= now()
    for update of s skip locked
    for no key update of t skip locked
), promoted as (
    update leaseq.tasks as t
    set state = 'PENDING'
    from held
    where t.ctid = held.task_place and held.state = 'SCHEDULED' and not held.is_limited
    returning
        held.queue as place_queue, held.priority as place_priority,
        t.queue, t.priority, t.crash_count + t.loss_count >= %(suspect)s as is_suspect, t.id, held.scheduled_place
), lined as (
    update leaseq.limited as l
    set due = true
    from held
    where held.has_limit and held.state = 'SCHEDULED' and l.task_id = held.id
), gone as (
    delete from leaseq.scheduled as s
    where s.ctid = any(array(
        select scheduled_place from promoted
        union all
        select scheduled_place from held where state <> 'SCHEDULED' or is_limited
    ))
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
