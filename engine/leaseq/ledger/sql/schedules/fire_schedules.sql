-- fire: none -> PENDING or SCHEDULED, for occurrences of schedules, together with the next time of each. Two
-- reapers, or one that was frozen, may send the same batch: a schedule is taken only if its next
-- time and its revision are as they were read, it is not paused, and no other transaction has it
-- locked. Zero rows for a schedule: it was not taken, and nothing of it changed. The idempotency key
-- of an occurrence keeps it from becoming a second task however often its time comes.
-- A schedule whose tasks must not overlap is `busy` while its last task has not ended. Then it skips
-- the occurrence, or waits: it keeps its next time and is looked at again later. The last task is
-- that of the row as it was read (a run by hand changes the revision), so this statement sees the
-- task; where it ends meanwhile, the occurrence is skipped or waits once more.
-- A task with a limit, of its own or of its queue, is SCHEDULED, and waits in the line of its limit, as
-- in submit_bound.sql. The statement locks no guard. A limit that does not exist is an error, 23502, and one that is deleted
-- meanwhile is 23503: then nothing of the batch is fired.
-- Each schedule has its occurrences newest first, in arrays as text. Those of `ids` stand in a
-- subquery for the reason in submit_tasks.sql. `in (select ...) is true` keeps a look into a hash
-- instead of a join, which without hash joins would compare each with each.
with due as materialized (
    select *
    from unnest(
        (select %(tenants)s::text[]), %(names)s::text[], %(revisions)s::uuid[], %(wases)s::timestamptz[], %(nexts)s::timestamptz[],
        %(dues)s::timestamptz[], %(missed)s::bigint[], %(ids)s::text[], %(ats)s::text[], %(keys)s::text[]
    ) as d (tenant, name, revision, was, next, due, missed, ids, ats, keys)
), mine as materialized (
    select s.tenant, s.name, s.overlap, s.last_task_id, d.next, d.due, d.missed, d.ids::uuid[], d.ats::timestamptz[], d.keys::text[]
    from due as d
    join leaseq.schedules as s on s.tenant = d.tenant and s.name = d.name
    where s.next_at = d.was and s.revision = d.revision and s.paused_at is null and s.due_at <= now()
    for update of s skip locked
), judged as materialized (
    select m.*, m.overlap <> 'allow' and cardinality(m.ids) > 0 and exists (
        select from leaseq.tasks as t where t.id = m.last_task_id and t.state in ('PENDING', 'SCHEDULED', 'PROCESSING')
    ) as busy
    from mine as m
), moved as (
    update leaseq.schedules as s
    set
        next_at = case when j.busy and j.overlap = 'wait' then s.next_at else j.next end,
        due_at = case
            when j.busy and j.overlap = 'wait'
            then now() + make_interval(secs => least(30, greatest(1, extract(epoch from now() - s.next_at) / 10)))
            else j.due
        end,
        last_at = case when j.busy then s.last_at else coalesce(j.ats[1], s.last_at) end,
        last_task_id = case when j.busy then s.last_task_id else coalesce(j.ids[1], s.last_task_id) end,
        fired = s.fired + case when j.busy then 0 else cardinality(j.ids) end,
        skipped = s.skipped + case when j.busy and j.overlap = 'skip' then cardinality(j.ids) else 0 end,
        missed = s.missed + case when j.busy and j.overlap = 'wait' then 0 else j.missed end,
        run_ats = case when j.busy and j.overlap = 'wait' then s.run_ats else (j.ats || s.run_ats)[1:%(kept)s] end,
        run_tasks = case
            when j.busy and j.overlap = 'wait' then s.run_tasks
            when j.busy then (array_fill(null::uuid, array[cardinality(j.ids)]) || s.run_tasks)[1:%(kept)s]
            else (j.ids || s.run_tasks)[1:%(kept)s]
        end
    from judged as j
    where s.tenant = j.tenant and s.name = j.name
    returning
        s.tenant, s.name, s.type, s.queue, s.payload, s.headers, s.labels, s.priority, s.max_attempts, s.timeout_seconds, s.overlap,
        coalesce(s.limit_name, (select q.limit_name from leaseq.queue_limits as q where q.queue = s.queue)) as limit_name,
        s.concurrency_key, j.busy, j.missed, j.ids, j.ats, j.keys
), occurrences as materialized (
    select m.*, o.id, o.at, o.key
    from moved as m
    cross join lateral unnest(m.ids, m.ats, m.keys) as o (id, at, key)
    where not m.busy
), keyed as (
    insert into leaseq.idempotency_keys (tenant, key, fingerprint, task_id, queue, expires_at)
    select tenant, key, '', id, queue, now() + make_interval(secs => %(retention)s)
    from occurrences
    order by tenant, key
    on conflict (tenant, key) do nothing
    returning task_id
), named as (
    insert into leaseq.queues (name)
    select o.queue from (select distinct queue from occurrences) as o
    where not exists (select from leaseq.queues as q where q.name = o.queue offset 0)
    order by o.queue
    on conflict (name) do nothing
), fired as materialized (
    select * from occurrences where (id in (select task_id from keyed)) is true
), created as (
    insert into leaseq.tasks (
        id, tenant, queue, type, payload, headers, idempotency_key, state, priority, max_attempts, timeout_seconds,
        traits, limit_name, concurrency_key
    )
    select
        id, tenant, queue, type, payload,
        (coalesce(headers::jsonb, '{}') || jsonb_build_object(
            'scheduled_at', to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ))::json,
        key, case when limit_name is null then 'PENDING' else 'SCHEDULED' end, priority, max_attempts, timeout_seconds,
        case when limit_name is not null then 1::smallint end, limit_name, concurrency_key
    from fired
), lined as (
    insert into leaseq.limited (task_id, limit_id, tenant, key, priority, due)
    select f.id, l.id, f.tenant, coalesce(f.concurrency_key, ''), f.priority, true
    from fired as f
    left join leaseq.limits as l on l.name = f.limit_name
    where f.limit_name is not null
), labelled as (
    insert into leaseq.labels (name, value, tenant, task_id)
    select l.key, l.value, f.tenant, f.id
    from fired as f
    cross join lateral jsonb_each_text(f.labels) as l
    where f.labels is not null
), listed as (
    insert into leaseq.unfinished_tasks (tenant, queue, task_id)
    select f.tenant, f.queue, f.id
    from fired as f
    where exists (
        select from leaseq.tenants as t
        where t.name = f.tenant and (t.unfinished is not null or t.unfinished_per_queue is not null) offset 0
    )
    returning tenant, queue
), counted as (
    insert into leaseq.unfinished_counts (tenant, queue, tasks)
    select tenant, queue, count(*) from listed group by tenant, queue
)
select
    tenant, name, type, queue, priority, null::text as task_id, limit_name, missed,
    case when busy and overlap = 'skip' then cardinality(ids) else 0 end as skipped, busy and overlap = 'wait' as waits
from moved
union all
select tenant, name, type, queue, priority, id::text, limit_name, 0, 0, false from fired
