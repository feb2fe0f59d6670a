-- Secrets that all API processes of a ledger share. `sessions` signs the cookies of the dashboard
-- (docs/decisions/0060-pages-from-the-api.md), so that a browser may be answered by any process. It is made here, of 244 random bits.
-- Processes of an older version have no dashboard and do not read it. A role of handlers may not read it.
create table leaseq.secrets (
    name text primary key,
    secret bytea not null check (length(secret) = 32),
    made_at timestamptz not null default clock_timestamp()
);
insert into leaseq.secrets (name, secret)
values ('sessions', sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

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
        execute format('grant select, insert, update, delete on leaseq.secrets to %I', grantee);
    end loop;
end
$$;
