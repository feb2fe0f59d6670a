-- redrive: FAILED, CANCELLED -> SCHEDULED and due, by an operator. Promote brings it in where its
-- lane has room. So it needs no push, which a lost answer or the end of the caller would lose, and
-- which in a full lane would lower the beginning of the backlog by days. Counts start at zero
-- again; the attempt (the fence) continues. A task without a limit takes that of its queue, if that has
-- one by now. Zero rows for an id: no such task in this tenant (any:
-- null), it is in another state, another unfinished task has its unique key, it was erased, its key was freed, it is not in `seen_state` at
-- `seen_attempt` any more (null: any), it ended after `ended_by` (null: any time), or another redrive took it and it has ended again while this
-- statement waited for its row. The time of the end tells the latter: this statement does not see
-- the dead letter of that end, and must not leave it behind. A cancel that met a settle may have
-- left a row in `scheduled` that it could not see. That row is locked first and the task second, as
-- promote does, and is replaced. Each kind of row is locked in order of id, so that two batches over
-- the same rows wait for each other instead of deadlocking.
with seen as materialized (
    select id, finished_at from leaseq.tasks
    where id = any(%(ids)s::uuid[]) and state in ('FAILED', 'CANCELLED')
), left_over as materialized (
    select task_id from leaseq.scheduled
    where task_id = any(%(ids)s::uuid[])
    order by task_id
    for update
), found as materialized (
    select t.id, t.tenant, t.type, t.unique_hold, t.unique_key,
        (select q.limit_name from leaseq.queue_limits as q where q.queue = t.queue) as queue_limit
    from leaseq.tasks as t
    join seen on seen.id = t.id and seen.finished_at = t.finished_at
    where (%(tenant)s::text is null or t.tenant = %(tenant)s) and t.state in ('FAILED', 'CANCELLED')
        and t.erased_at is null and t.key_freed_at is null
        and (%(seen_state)s::text is null or (t.state = %(seen_state)s::text and t.attempt = %(seen_attempt)s::integer))
        and (%(ended_by)s::timestamptz is null or t.finished_at <= %(ended_by)s)
        and (select count(*) from left_over) >= 0
    order by t.id
    for update of t
), keyed as materialized (
    -- Of tasks that have their key while they are unfinished: the task that had it last, under the version of that row.
    select
        f.id, f.tenant, f.type, f.unique_hold, f.unique_key, u.task_id as holder, u.version, u.place,
        exists (
            select from leaseq.tasks as h
            where h.id = u.task_id and h.id <> f.id and h.state in ('PENDING', 'SCHEDULED', 'PROCESSING')
        ) as is_taken
    from found as f
    left join lateral (
        -- Row by row, because without statistics Postgres would read all keys for each. Without a limit it would join them.
        select u.task_id, u.version, u.ctid as place from leaseq.uniques as u
        where u.tenant = f.tenant and u.type = f.type and u.hold = f.unique_hold and u.key = f.unique_key
        limit 1
    ) as u on true
    where f.unique_hold = 'while_unfinished'
), regained as (
    -- The version grows although the holder may be the same, so a submission that has seen it ended does not take the key.
    update leaseq.uniques as u
    set task_id = k.id, version = u.version + 1, final_state = null, until = case when u.task_id = k.id then u.until end
    from keyed as k
    where u.ctid = k.place and u.task_id = k.holder and u.version = k.version and not k.is_taken
    returning u.task_id
), entered as (
    insert into leaseq.uniques (tenant, type, hold, key, task_id, version)
    select tenant, type, unique_hold, unique_key, id, 1 from keyed where holder is null order by tenant, type, unique_key, id
    on conflict (tenant, type, hold, key) do nothing
    returning task_id
), redriven as (
    update leaseq.tasks as t
    set state = 'SCHEDULED', retry_count = 0, crash_count = 0, loss_count = 0, hand_back_count = 0, run_at = now(),
        finished_at = null, cancel_requested_at = null, expires_at = null, error = null,
        limit_name = coalesce(t.limit_name, found.queue_limit),
        traits = case when found.queue_limit is null then t.traits else coalesce(t.traits, 0) | 1 end
    from found
    where t.id = found.id and (
        found.id not in (select id from keyed)
        or found.id in (select task_id from regained union all select task_id from entered)
    )
    returning t.id, t.tenant, t.queue, t.state, t.attempt, t.worker_id, t.priority, t.crash_count, t.loss_count, t.run_at,
        t.limit_name, t.concurrency_key
), waiting as (
    insert into leaseq.scheduled (task_id, run_at, queue, priority)
    select id, run_at, queue, priority from redriven
    on conflict (task_id) do update
    set run_at = excluded.run_at, queue = excluded.queue, priority = excluded.priority, awaited_type = null
), lined as (
    -- Not due: promote finds the row in `scheduled`, and lets the task wait in the line of its limit, if that still exists.
    insert into leaseq.limited (task_id, limit_id, tenant, key, priority, due)
    select r.id, l.id, r.tenant, coalesce(r.concurrency_key, ''), r.priority, false
    from redriven as r
    join leaseq.limits as l on l.name = r.limit_name
    order by r.id
    on conflict (task_id) do update set due = false, admitted_at = null, started_at = null
), revived as (
    delete from leaseq.dead_letters as d using redriven
    where d.task_id = redriven.id
    returning d.tenant, d.queue, d.type
), dead_counted as (
    insert into leaseq.dead_letter_counts (tenant, queue, type, letters)
    select tenant, queue, type, -count(*) from revived group by tenant, queue, type
), listed as (
    -- The task is unfinished again. A row that is there gets a new `since`, so that no sweep that began before removes it.
    insert into leaseq.unfinished_tasks (tenant, queue, task_id)
    select r.tenant, r.queue, r.id
    from redriven as r
    join leaseq.tenants as t on t.name = r.tenant
    where t.unfinished is not null or t.unfinished_per_queue is not null
    order by r.tenant, r.queue, r.id
    on conflict (tenant, queue, task_id) do update set since = excluded.since
    -- an inserted row has no xmax
    returning tenant, queue, (xmax = 0)::integer as inserted
), counted as (
    insert into leaseq.unfinished_counts (tenant, queue, tasks)
    select tenant, queue, sum(inserted) from listed group by tenant, queue having sum(inserted) > 0
)
select id::text as task_id, queue, state, attempt, worker_id, priority, crash_count, loss_count from redriven
