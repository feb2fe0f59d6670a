-- Admissions whose tasks are perhaps not pushed yet: one row for each statement that admits tasks, written by it. The process deletes the
-- row after its push. A reaper pushes the tasks of a row that stays, because its process has died (docs/limits.md,
-- docs/decisions/0073-handoffs.md). A process of an older version writes no rows, and `reconcile` finds its tasks as before. Rows live for
-- milliseconds, so the table is vacuumed often.
create table leaseq.handoffs (
    id bigint generated always as identity primary key,
    task_ids uuid[] not null,
    at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);

-- The roles of services may read and write it without another `leaseq migrate --grants`, as in 0029.
do $$
declare
    granted record;
begin
    for granted in
        select distinct r.rolname
        from pg_proc as p
        cross join aclexplode(p.proacl) as a
        join pg_roles as r on r.oid = a.grantee
        where p.oid = 'leaseq.end_session(integer)'::regprocedure and a.privilege_type = 'EXECUTE' and r.oid <> p.proowner
    loop
        execute format('grant select, insert, update, delete on leaseq.handoffs to %I', granted.rolname);
        execute format('grant usage, select on all sequences in schema leaseq to %I', granted.rolname);
    end loop;
end
$$;
