-- What happened to the cluster, for people: the diary of the dashboard, and marks on charts (docs/operations.md#notices). Processes
-- write the events of their log that a person may want to know of, a bounded number of each kind, a few seconds later. No decision
-- about a task rests on them, and a process of an older version writes none. `task_id` is not a foreign key: a notice outlives its
-- task. `count`: so many more events of the name came from this process in the same second as one of its notices.
create table leaseq.notices (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    name text not null,
    level text not null check (level in ('info', 'warning', 'error')),
    role text not null check (role in ('api', 'reaper', 'supervisor', 'worker')),
    host text not null,
    pid integer not null,
    queue text,
    task_id uuid,
    worker_id text,
    fields json not null,
    count integer not null default 0
);
create index notices_task on leaseq.notices (task_id) where task_id is not null;

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
        execute format('grant select, insert, update, delete on leaseq.notices to %I', grantee);
    end loop;
end
$$;
