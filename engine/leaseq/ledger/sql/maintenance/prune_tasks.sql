-- Of the next tasks after an id and before another, in order, delete those that have finished and
-- are past retention, with their attempts, labels, dead letters and unique keys. The parameter `retentions` has
-- the retention of types that have their own, in one object; all others have `retention` (seconds).
-- The keys stay and remember the final state. A task is left for the next scan if another
-- transaction has locked its row or that of its key, so that one of them holds up no other. The
-- statement follows the primary key: an id is never younger than its finishing. One row always, never
-- zero rows: the last id that was looked at (null: there is none), and the number of deleted tasks.
-- The next batch begins behind that id. Otherwise each batch would read again the tasks that have to
-- stay (a task for next year, say) and the dead entries that the batch before left in the index.
-- Labels that a process of an older version has left behind, because it knew none when it pruned or
-- erased their task, are deleted with those of their neighbours.
with scanned as materialized (
    select id from leaseq.tasks
    where id > %(after)s::uuid and id < %(before)s::uuid
    order by id
    limit %(limit)s
), last as materialized (
    select s.id from scanned as s order by s.id desc limit 1
), past as materialized (
    select t.id, t.tenant, t.idempotency_key, t.state, t.type, t.unique_hold, t.unique_key
    from leaseq.tasks as t, last
    where t.id > %(after)s::uuid and t.id <= last.id
        and t.state in ('SUCCESS', 'FAILED', 'CANCELLED')
        and t.finished_at < now() - make_interval(secs => coalesce((%(retentions)s::jsonb ->> t.type)::float8, %(retention)s))
    for update of t skip locked
), old as materialized (
    -- Row by row, because old statistics would have Postgres read all keys. Without a limit Postgres would join them.
    select past.* from past
    left join lateral (
        select k.task_id from leaseq.idempotency_keys as k
        where k.tenant = past.tenant and k.key = past.idempotency_key
        limit 1
    ) as taken on true
    left join lateral (
        select k.task_id from leaseq.idempotency_keys as k
        where k.tenant = past.tenant and k.key = past.idempotency_key
        limit 1
        for no key update skip locked
    ) as free on true
    where taken.task_id is distinct from past.id or free.task_id = past.id
), remembered as (
    update leaseq.idempotency_keys k set final_state = old.state
    from old
    where k.tenant = old.tenant and k.key = old.idempotency_key and k.task_id = old.id
), unique_keys as materialized (
    -- Row by row, as above. A row that is locked is being taken by another task.
    select u.place, u.until, old.state
    from old
    cross join lateral (
        select k.ctid as place, k.until from leaseq.uniques as k
        where k.tenant = old.tenant and k.type = old.type and k.hold = old.unique_hold and k.key = old.unique_key
            and k.task_id = old.id
        limit 1
        for update skip locked
    ) as u
    where old.unique_key is not null
), unique_kept as (
    -- A period that is not over keeps its row, until prune_uniques.sql.
    update leaseq.uniques as u set final_state = k.state from unique_keys as k where u.ctid = k.place and k.until > now()
), unique_gone as (
    delete from leaseq.uniques as u using unique_keys as k where u.ctid = k.place and coalesce(k.until <= now(), true)
), attempts as (
    delete from leaseq.attempts a using old where a.task_id = old.id
), dead as (
    delete from leaseq.dead_letters d using old where d.task_id = old.id and old.state = 'FAILED'
    returning d.tenant, d.queue, d.type
), dead_counted as (
    insert into leaseq.dead_letter_counts (tenant, queue, type, letters)
    select tenant, queue, type, -count(*) from dead group by tenant, queue, type
), left_behind as materialized (
    -- Row by row, as above.
    select l.task_id
    from last
    cross join lateral (
        select distinct l.task_id from leaseq.labels as l where l.task_id > %(after)s::uuid and l.task_id <= last.id
    ) as l
    left join lateral (
        select t.id, t.erased_at from leaseq.tasks as t where t.id = l.task_id limit 1
    ) as t on true
    where t.id is null or t.erased_at is not null
), labels as (
    delete from leaseq.labels as l
    using (select id from old union all select task_id from left_behind) as past
    where l.task_id = past.id
), gone as (
    delete from leaseq.tasks t using old where t.id = old.id returning t.id
)
select (select id::text from last), (select count(*) from gone)
