-- submit: none -> PENDING or SCHEDULED, as submit_bound.sql does, of tasks with unique keys. It is that
-- statement with these changes (statements.py). A task is recorded only if it gets its key: as a new row
-- of `uniques`, or from the holder that find_uniques.sql has shown, under the version that it had. Rows of
-- `uniques` are locked in order of key, and before tasks. Where `replaces` is true, the holder waits and is
-- cancelled in this statement; if it is running meanwhile, the key stays with it. A submission whose
-- unique key another task has now, or whose idempotency key or id exists, does not come back: look again.
-- The statement waits for an open transaction that has taken the key, as long as `patience` says, and
-- then fails with 55P03. No key may appear twice in a batch.
--- instead of
), keyed as (
--- write
), wanted as materialized (
    select *
    from unnest(
        (select %(unique_tasks)s::uuid[]), %(unique_tenants)s::text[], %(unique_types)s::text[], %(unique_keys)s::text[],
        %(unique_holds)s::text[], %(holders)s::uuid[], %(versions)s::bigint[], %(periods)s::float8[], %(replaces)s::boolean[]
    ) as w (unique_task, unique_tenant, unique_type, unique_key, unique_hold, holder, version, period, replaces)
), held as materialized (
    -- Row by row, because without statistics Postgres would read all keys for each. Without a limit it would join them.
    select u.place, w.holder, w.unique_task, w.period, w.replaces
    from (
        select w.*
        from patience
        cross join wanted as w
        where w.version is not null
        order by w.unique_tenant, w.unique_type, w.unique_hold, w.unique_key
    ) as w
    cross join lateral (
        select u.ctid as place
        from leaseq.uniques as u
        where u.tenant = w.unique_tenant and u.type = w.unique_type and u.hold = w.unique_hold and u.key = w.unique_key
            and u.task_id = w.holder and u.version = w.version
        limit 1
        for no key update
    ) as u
), replaced as (
    update leaseq.tasks as t
    set state = 'CANCELLED', finished_at = clock_timestamp(), cancel_requested_at = coalesce(t.cancel_requested_at, clock_timestamp()),
        error = json_build_object('code', 'cancelled', 'message', 'replaced by task ' || held.unique_task)
    from held
    where t.id = held.holder and held.replaces and t.state in ('PENDING', 'SCHEDULED')
    returning t.id
), free as (
    -- A row that promote holds is left to promote, as cancel_tasks.sql says.
    select s.task_id from leaseq.scheduled as s
    join replaced on s.task_id = replaced.id
    for update of s skip locked
), unscheduled as (
    delete from leaseq.scheduled as s using free where s.task_id = free.task_id
), unlimited as (
    delete from leaseq.limited as l using replaced where l.task_id = replaced.id
), retaken as (
    update leaseq.uniques as u
    set task_id = held.unique_task, version = u.version + 1, until = clock_timestamp() + make_interval(secs => held.period),
        first_at = clock_timestamp(), final_state = null
    from held
    where u.ctid = held.place and (not held.replaces or held.holder in (select id from replaced))
    returning u.task_id
), taken as (
    insert into leaseq.uniques (tenant, type, hold, key, task_id, until)
    select
        w.unique_tenant, w.unique_type, w.unique_hold, w.unique_key, w.unique_task,
        clock_timestamp() + make_interval(secs => w.period)
    from patience
    cross join wanted as w
    where w.version is null
    order by w.unique_tenant, w.unique_type, w.unique_hold, w.unique_key
    on conflict (tenant, type, hold, key) do nothing
    returning task_id
), mine as materialized (
    select task_id from retaken union all select task_id from taken
), keyed as (
--- instead of
    from patience, sent
    where key is not null
--- write
    from patience, sent
    where key is not null and id in (select task_id from mine)
--- instead of
expires_at, traits, limit_name, concurrency_key
    )
    select
--- write
expires_at, traits, limit_name, concurrency_key, unique_key, unique_hold
    )
    select
--- instead of
, traits, limit_name, concurrency_key
    from sent
--- write
, traits, limit_name, concurrency_key, unique_key, unique_hold
    from sent
    join wanted on wanted.unique_task = sent.id
--- instead of
    where key is null or id in (select task_id from keyed)
--- write
    where id in (select task_id from mine) and (key is null or id in (select task_id from keyed))
