-- The tasks that are FAILED, in a narrow table, so that they are counted, listed and grouped without a look at `tasks`, which has no
-- index on state (docs/decisions/0056-counting-that-never-scans.md). A row is here exactly while its task is FAILED: the statements
-- that make a task FAILED, redrive it or prune it keep the row themselves. Workers, reapers and clients of an older version go on
-- without it. Rows that they do not insert or remove, and those of tasks that had failed before, are set right by the scans of the
-- reconciler (docs/lifecycle.md). `code` and `fingerprint` are those of the error of the last attempt; an erased task has the code
-- `erased`. Rows come and go like those of `scheduled`, so it is vacuumed as often (0004).
create table leaseq.dead_letters (
    task_id uuid primary key,
    tenant text not null,
    queue text not null,
    type text not null,
    failed_at timestamptz not null,
    code text not null,
    fingerprint text
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);
create index dead_letters_failures on leaseq.dead_letters (type, fingerprint, failed_at, task_id);

-- The number of rows in `dead_letters`, by tenant, queue and type, as a sum of changes: each statement that inserts or removes rows
-- there inserts its change here, and a fold replaces many changes by their sum, as in 0024.
create table leaseq.dead_letter_counts (
    tenant text not null,
    queue text not null,
    type text not null,
    letters bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- The roles of services may read and write both without another `leaseq migrate --grants`, as in 0013.
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
            'grant select, insert, update, delete on leaseq.dead_letters, leaseq.dead_letter_counts to %I', grantee
        );
    end loop;
end
$$;
