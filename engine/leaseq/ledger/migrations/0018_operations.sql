-- A record of every change that was made through the API or the command line (docs/audit.md,
-- docs/decisions/0044-recorded-before-it-is-done.md). A row is committed before the change, with the outcome `unconfirmed`, and
-- gets its outcome afterwards. `kind` leaves room for operations on many tasks, and `detail` for their counts. `tenant` and
-- `key_id` are those of the actor; neither is a foreign key, because a row outlives both. Processes of an older version of leaseq
-- do not write rows.
create table leaseq.operations (
    id uuid primary key,
    kind text not null default 'single',
    action text not null,
    target text not null,
    tenant text,
    key_id text,
    actor text not null,
    outcome text not null default 'unconfirmed' check (outcome in ('unconfirmed', 'done', 'refused')),
    code text,
    detail json,
    began_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
);
create index operations_target on leaseq.operations (target, id);

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
        execute format('grant select, insert, update, delete on leaseq.operations to %I', grantee);
    end loop;
end
$$;
