-- List tasks among these as dead letters that are FAILED and have no row: they had failed before there
-- was the table, or a process of an older version has settled them. No transition. Zero rows for an id:
-- it is not FAILED any more, has a row, or is locked by another transaction (the next scan finds it
-- again). An error with a NUL cannot be read as JSON. The array of ids stands in a subquery, for the reason in submit_tasks.sql.
with failed as materialized (
    select id, tenant, queue, type, finished_at, erased_at, error
    from leaseq.tasks
    where id = any((select %(ids)s::uuid[])::uuid[]) and state = 'FAILED'
    order by id
    for no key update skip locked
), dead as (
    insert into leaseq.dead_letters (task_id, tenant, queue, type, failed_at, code, fingerprint)
    select
        id, tenant, queue, type, finished_at,
        case
            when erased_at is not null then 'erased'
            when strpos(error::text, '\u0000') > 0 then 'unknown'
            else coalesce(error ->> 'code', 'unknown')
        end,
        case when erased_at is null then substring(error::text from '"fingerprint":"([0-9a-f]{12})"') end
    from failed
    on conflict (task_id) do nothing
    returning task_id, tenant, queue, type
), counted as (
    insert into leaseq.dead_letter_counts (tenant, queue, type, letters)
    select tenant, queue, type, count(*) from dead group by tenant, queue, type
)
select task_id::text from dead
