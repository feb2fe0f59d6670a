-- Quotas of tenants (docs/quotas.md, docs/decisions/0053-quotas-of-tenants.md). The limits are columns of the tenant; null: no
-- limit. API processes of an older version apply none, and do not count what they accept.
alter table leaseq.tenants
    add column unfinished bigint check (unfinished >= 0),
    add column unfinished_per_queue bigint check (unfinished_per_queue >= 0),
    add column payload_bytes_per_day bigint check (payload_bytes_per_day >= 0);

-- One row for each task of a tenant with a limit on unfinished tasks, from its acceptance by the HTTP service until a sweep finds
-- that it has ended. Tasks of other tenants have no row, and settle does not know the table. `since` changes when a task is
-- redriven, so that a sweep that saw the task ended does not remove its row. Rows come and go like those of `scheduled`, so it is
-- vacuumed as often (0004).
create table leaseq.unfinished_tasks (
    tenant text not null,
    queue text not null,
    task_id uuid not null,
    since timestamptz not null default clock_timestamp(),
    primary key (tenant, queue, task_id)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);

-- The number of rows in `unfinished_tasks`, by tenant and queue, as a sum of changes: each statement that inserts or removes rows
-- there inserts its change here, and a fold replaces many changes by their sum. So a count does not read the list, and no
-- statement waits for another one.
create table leaseq.unfinished_counts (
    tenant text not null,
    queue text not null,
    tasks bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- The bytes of payloads that each API process has accepted for tenants with a limit on them, by UTC day. A process writes its own
-- rows only, with its whole sum: so a repeated write counts once, and processes do not wait for each other.
create table leaseq.payload_bytes (
    day date not null,
    tenant text not null,
    process uuid not null,
    bytes bigint not null check (bytes >= 0),
    primary key (day, tenant, process)
) with (fillfactor = 50);

-- When the rows of a tenant in `unfinished_tasks` were last swept, so that one process does it for all. Unlogged: after a crash
-- every sweep is due.
create unlogged table leaseq.quota_sweeps (
    tenant text primary key,
    swept_at timestamptz not null
) with (fillfactor = 50);

-- The roles of services may read and write them without another `leaseq migrate --grants`, as in 0013.
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
        execute format(
            'grant select, insert, update, delete on leaseq.unfinished_tasks, leaseq.unfinished_counts, leaseq.payload_bytes, '
            'leaseq.quota_sweeps to %I',
            grantee
        );
    end loop;
end
$$;
