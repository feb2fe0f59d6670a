-- Limits on how many tasks run at the same time, over the whole fleet (docs/limits.md,
-- docs/decisions/0064-permits-are-rows.md). `tasks.traits` marks a task that takes other statements than a plain one: bit 1 for a task
-- with a limit. It is null for plain tasks, and no index and no CHECK names it, so claim and settle of plain tasks write what they wrote
-- before. `limit_name` and `concurrency_key` say which line such a task waits in, also after it has ended, for a redrive.
-- Workers of an older version settle a task without a look at its traits, and leave its permit behind. `workers.traits` and
-- `services.traits` have the bits that a process knows; they are null for a process of an older version, and while one is alive no task
-- with traits is accepted.
alter table leaseq.tasks add column traits smallint, add column limit_name text, add column concurrency_key text;
alter table leaseq.workers add column traits smallint;
alter table leaseq.services add column traits smallint;
alter table leaseq.type_versions add column limit_name text, add column limit_key text;

-- `declared` is what an app has declared last, so that the start of a worker does not undo a change that an operator has made since.
create table leaseq.limits (
    id integer generated always as identity primary key,
    name text collate "C" not null unique,
    concurrency integer check (concurrency >= 1),
    key_concurrency integer check (key_concurrency >= 1),
    declared text,
    updated_at timestamptz not null default clock_timestamp(),
    constraint bounds_something check (concurrency is not null or key_concurrency is not null)
);

-- One row for each limit. A statement that admits tasks, or changes the limit, increases the version, and admits only under the version
-- that it has counted with (docs/decisions/0063-four-rules-of-read-committed.md). The position is that of the key which had the last turn.
create table leaseq.guards (
    limit_id integer primary key references leaseq.limits (id) on delete cascade,
    version bigint not null default 0,
    last_tenant text collate "C" not null default '',
    last_key text collate "C" not null default ''
) with (fillfactor = 20);

-- One row for each unfinished task with a limit. `admitted_at` is the permit: the task is PENDING or PROCESSING. `due`: it waits for the
-- permit and for nothing else. Every statement that changes a row holds the lock of its task. Rows come and go like those of `scheduled`,
-- so the table is vacuumed as often (0004).
create table leaseq.limited (
    task_id uuid primary key,
    limit_id integer not null references leaseq.limits (id),
    tenant text collate "C" not null,
    key text collate "C" not null,
    priority smallint not null,
    due boolean not null,
    admitted_at timestamptz,
    since timestamptz not null default clock_timestamp()
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);
create index limited_waiting on leaseq.limited (limit_id, tenant, key, priority desc, task_id) where admitted_at is null and due;
create index limited_admitted on leaseq.limited (limit_id, tenant, key, task_id) where admitted_at is not null;

-- settle, on the handler's connection, of a task with a limit: as the function for plain tasks, which checks the secret and has the fence.
create function leaseq.handler_succeed_bound(worker text, given text, task uuid, number integer, outcome text)
returns table (id text, limit_name text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
    with ended as materialized (
        select e.id from leaseq.handler_succeed(worker, given, task, number, outcome) as e
    ), freed as (
        delete from leaseq.limited as l using ended as e where l.task_id = e.id::uuid
    )
    select e.id, (select t.limit_name from leaseq.tasks as t where t.id = task) from ended as e;
end
$$;

-- submit, on the handler's connection, of tasks with limits: as the function with labels, which checks the secret. A limit that does not
-- exist is an error, 23502, and nothing is recorded.
create function leaseq.handler_submit_bound(
    worker text, given text, retention float8, ids uuid[], tenants text[], queues text[], types text[], payloads text[],
    headers text[], keys text[], fingerprints bytea[], priorities smallint[], attempts integer[], timeouts float8[],
    delays float8[], run_ats timestamptz[], expires_ats timestamptz[], label_tasks uuid[], label_names text[], label_values text[],
    bound_tasks uuid[], limit_names text[], concurrency_keys text[]
)
returns table (id text, state text, created_at timestamptz, run_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    known constant uuid[] := array(select t.id from leaseq.tasks as t where t.id = any(bound_tasks));
begin
    return query
    select * from leaseq.handler_submit(
        worker, given, retention, ids, tenants, queues, types, payloads, headers, keys, fingerprints, priorities, attempts,
        timeouts, delays, run_ats, expires_ats, label_tasks, label_names, label_values
    );
    with made as (
        update leaseq.tasks as t
        set traits = 1, limit_name = b.limit_name, concurrency_key = b.concurrency_key
        from unnest(bound_tasks, limit_names, concurrency_keys) as b (task_id, limit_name, concurrency_key)
        where t.id = b.task_id and t.id <> all(known)
        returning t.id, t.tenant, t.priority, t.run_at, t.limit_name, t.concurrency_key
    ), lined as (
        insert into leaseq.limited (task_id, limit_id, tenant, key, priority, due)
        select m.id, l.id, m.tenant, coalesce(m.concurrency_key, ''), m.priority, m.run_at <= now()
        from made as m
        left join leaseq.limits as l on l.name = m.limit_name
        returning task_id, due
    )
    delete from leaseq.scheduled as s using lined as l where s.task_id = l.task_id and l.due;
end
$$;

-- By default every role may call a new function. They get the rights of the functions for plain tasks, and the roles of services may read
-- and write the tables, without another `leaseq migrate --grants`, as in 0029.
do $$
declare
    granted record;
    made regprocedure;
begin
    for made in select oid from pg_proc where pronamespace = 'leaseq'::regnamespace and proname in ('handler_succeed_bound', 'handler_submit_bound')
    loop
        execute format('revoke all on function %s from public', made);
        for granted in
            select distinct r.rolname
            from pg_proc as p
            cross join aclexplode(p.proacl) as a
            join pg_roles as r on r.oid = a.grantee
            where p.pronamespace = 'leaseq'::regnamespace and p.proname = 'handler_submit'
                and a.privilege_type = 'EXECUTE' and r.oid <> p.proowner
        loop
            execute format('grant execute on function %s to %I', made, granted.rolname);
        end loop;
    end loop;
    for granted in
        select distinct r.rolname
        from pg_proc as p
        cross join aclexplode(p.proacl) as a
        join pg_roles as r on r.oid = a.grantee
        where p.oid = 'leaseq.end_session(integer)'::regprocedure and a.privilege_type = 'EXECUTE' and r.oid <> p.proowner
    loop
        execute format('grant select, insert, update, delete on leaseq.limits, leaseq.guards, leaseq.limited to %I', granted.rolname);
        execute format('grant usage, select on all sequences in schema leaseq to %I', granted.rolname);
    end loop;
end
$$;
