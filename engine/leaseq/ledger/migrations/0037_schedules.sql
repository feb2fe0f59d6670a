-- Schedules (docs/schedules.md, docs/decisions/0065-schedules.md): each becomes a task at each of its times. Processes of an older
-- version do not know the table, and fire nothing. `next_at` is the next occurrence, null: there is none any more. `due_at` is the
-- moment at which a reaper looks at it: later than `next_at` by its jitter, or while it waits for its last task. `revision` changes
-- with each change of the row that is not a firing. The options of its tasks are complete, as those of a submission. `run_ats` and
-- `run_tasks` are the last occurrences, newest first; an occurrence without a task was skipped.
create table leaseq.schedules (
    tenant text not null,
    name text not null,
    cron text,
    zone text not null,
    every_seconds float8,
    anchor_at timestamptz,
    start_at timestamptz,
    end_at timestamptz,
    type text not null,
    queue text not null,
    payload json not null,
    headers json,
    labels jsonb,
    priority smallint not null,
    max_attempts integer not null,
    timeout_seconds float8 not null,
    catch_up text not null check (catch_up in ('skip', 'once', 'all')),
    max_catch_up integer not null check (max_catch_up > 0),
    overlap text not null check (overlap in ('allow', 'skip', 'wait')),
    jitter_seconds integer not null check (jitter_seconds >= 0),
    source text not null,
    revision uuid not null default gen_random_uuid(),
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    paused_at timestamptz,
    paused_by text,
    next_at timestamptz,
    due_at timestamptz,
    last_at timestamptz,
    last_task_id uuid,
    fired bigint not null default 0,
    missed bigint not null default 0,
    skipped bigint not null default 0,
    run_ats timestamptz[] not null default '{}',
    run_tasks uuid[] not null default '{}',
    primary key (tenant, name),
    constraint cron_or_interval check ((cron is null) <> (every_seconds is null)),
    constraint interval_has_an_anchor check (every_seconds is null or anchor_at is not null),
    constraint due_exactly_when_next check ((next_at is null) = (due_at is null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
create index schedules_due on leaseq.schedules (due_at) where paused_at is null and due_at is not null;

-- The roles of services may read and write it without another `leaseq migrate --grants`, as in 0013.
do $$
declare
    grantee text;
begin
    for grantee in
        select distinct r.rolname
        from pg_proc as p
        cross join aclexplode(p.proacl) as a
        join pg_roles as r on r.oid = a.grantee
        where p.oid = 'leaseq.end_session(integer)'::regprocedure and a.privilege_type = 'EXECUTE' and r.oid <> p.proowner
    loop
        execute format('grant select, insert, update, delete on leaseq.schedules to %I', grantee);
    end loop;
end
$$;
