-- Registrations of task types, one row for each version of a handler (docs/decisions/0031-one-check-for-payloads.md).
-- `task_types` has one row for a type, which the last worker to start writes, be it of an older release. Here each version of a handler
-- keeps its row, and the first time that it was seen orders the versions of a type. `worker_types` says which worker runs which version,
-- so that a version counts while one of its workers is open.
-- Workers of an older version of leaseq go on writing `task_types`. A type that has no row in `type_versions` is read from there.
create table leaseq.type_versions (
    type text not null,
    version text not null,
    queue text not null,
    shape json not null,
    max_attempts integer check (max_attempts >= 1),
    timeout_seconds double precision check (timeout_seconds > 0),
    first_seen_at timestamptz not null default clock_timestamp(),
    primary key (type, version)
);
create table leaseq.worker_types (
    worker_id text not null references leaseq.workers (id) on delete cascade,
    type text not null,
    version text not null,
    primary key (worker_id, type),
    foreign key (type, version) references leaseq.type_versions
);
create index worker_types_version on leaseq.worker_types (type, version);

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
        execute format('grant select, insert, update, delete on leaseq.type_versions, leaseq.worker_types to %I', grantee);
    end loop;
end
$$;
