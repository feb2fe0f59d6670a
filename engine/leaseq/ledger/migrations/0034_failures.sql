-- Failures grouped by type and fingerprint (docs/failures.md, docs/decisions/0058-failures-counted-from-an-inbox.md). A settle that
-- writes a failed attempt also inserts a narrow row into `uncounted_failures`. A duty of the reaper deletes these rows, and adds them
-- to `failures` and `failure_counts` in the same transaction: so each attempt counts exactly once, also where a settle commits late or
-- a reaper is killed. Attempts that processes of an older version settle are not counted. `attempts` gets no column and no index, so
-- a large ledger is upgraded as quickly as a small one.
create table leaseq.uncounted_failures (
    task_id uuid not null,
    attempt integer not null,
    tenant text not null,
    queue text not null,
    type text not null,
    fingerprint text not null,
    code text not null,
    exception text not null,
    frame text not null,
    outcome text not null,
    worker_id text not null,
    failed_at timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);
create index uncounted_failures_at on leaseq.uncounted_failures (failed_at);

-- `versions` has the versions of the application in which the failure occurred, each with the first time, and `hosts` the hosts, each
-- with the last time (seconds since 1970). `tasks` and `attempts` are the newest attempts, newest first. Messages stay with the attempts:
-- they are erased and pruned with them.
create table leaseq.failures (
    type text not null,
    fingerprint text not null,
    tenant text not null,
    code text not null,
    exception text not null,
    frame text not null,
    queues text[] not null,
    versions jsonb not null,
    hosts jsonb not null,
    tasks uuid[] not null,
    attempts integer[] not null,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    acknowledged_at timestamptz,
    acknowledged_by text,
    acknowledged_in text[],
    returned_at timestamptz,
    primary key (type, fingerprint, tenant)
) with (fillfactor = 50);
create index failures_last_seen on leaseq.failures (last_seen);
create index failures_first_seen on leaseq.failures (first_seen, tenant, type);

-- Each attempt is counted in ten minutes (`step` 10), which are kept for some hours, and in the hour (`step` 60).
create table leaseq.failure_counts (
    type text not null,
    fingerprint text not null,
    step smallint not null check (step in (10, 60)),
    at timestamptz not null,
    tenant text not null,
    outcome text not null,
    n bigint not null,
    primary key (type, fingerprint, step, at, tenant, outcome)
) with (fillfactor = 80);
create index failure_counts_at on leaseq.failure_counts (step, at);

-- The version of the application that a worker runs, as its operator has named it (LEASEQ_APP_VERSION).
alter table leaseq.workers add column app_version text;

-- The roles of services may read and write all three without another `leaseq migrate --grants`, as in 0013.
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
            'grant select, insert, update, delete on leaseq.uncounted_failures, leaseq.failures, leaseq.failure_counts to %I', grantee
        );
    end loop;
end
$$;
