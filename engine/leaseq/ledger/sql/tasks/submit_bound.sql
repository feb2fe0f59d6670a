-- submit: none -> PENDING or SCHEDULED, as submit_labelled.sql does, for a batch with tasks that have a
-- limit: these are SCHEDULED. It is that statement with these changes (statements.py), so that no second
-- file lists the options of a submission. A task that is due waits in the line of its limit; one that is
-- not due waits in `scheduled` first. The statement locks no guard: a submission waits for no limit. The
-- row of the limit is locked against its deletion (a foreign key). A limit that does not exist is an
-- error, 23502, and nothing is recorded. A submission whose key or id exists does not come back, and has
-- no row.
--- instead of
), keyed as (
--- write
), bound as materialized (
    select *, 1::smallint as traits
    from unnest((select %(bound_tasks)s::uuid[]), %(limit_names)s::text[], %(concurrency_keys)s::text[])
        as b (task_id, limit_name, concurrency_key)
), keyed as (
--- instead of
            when %(after_commit)s or coalesce(run_at
--- write
            when traits is not null or %(after_commit)s or coalesce(run_at
--- instead of
, expires_at
    )
    select
--- write
, expires_at, traits, limit_name, concurrency_key
    )
    select
--- instead of
, now()), expires_at
    from sent
--- write
, now()), expires_at, traits, limit_name, concurrency_key
    from sent
    left join bound on bound.task_id = sent.id
--- instead of
    returning id, tenant, queue, state, created_at, run_at, priority
--- write
    returning id, tenant, queue, state, created_at, run_at, priority, traits, limit_name, concurrency_key
--- instead of
    select id, run_at, queue, priority from created where state = 'SCHEDULED'
--- write
    select id, run_at, queue, priority from created where state = 'SCHEDULED' and (traits is null or run_at > now())
--- instead of
)
select id::text, state, created_at, run_at from created
--- write
), lined as (
    insert into leaseq.limited (task_id, limit_id, tenant, key, priority, due)
    select c.id, l.id, c.tenant, coalesce(c.concurrency_key, ''), c.priority, c.run_at <= now()
    from created as c
    left join leaseq.limits as l on l.name = c.limit_name
    where c.traits is not null
)
select id::text, state, created_at, run_at from created
