-- API keys, and the tenants that a key may be bound to (docs/decisions/0045-keys-and-tenants.md). A key's text is not here, only
-- its SHA-256. Tasks name their tenant in a column of their own since 0001, so no task refers to these tables, and processes of
-- the release before go on as they are. A tenant whose tasks Python programs have submitted already is made known with `leaseq
-- tenants create`.
create table leaseq.tenants (
    name text primary key check (name ~ '^[A-Za-z0-9_.-]{1,128}$'),
    created_at timestamptz not null default now()
);
insert into leaseq.tenants (name) values ('default');

create table leaseq.api_keys (
    id text primary key check (id ~ '^[a-z0-9]{12}$'),
    name text not null check (length(name) between 1 and 128),
    digest bytea not null check (octet_length(digest) = 32),
    scopes text[] not null check (
        scopes <@ array['submit', 'read', 'payloads', 'operate', 'admin', 'metrics'] and cardinality(scopes) > 0
    ),
    tenant text references leaseq.tenants (name),
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    replaced_by text,
    last_used_at timestamptz,
    constraint scopes_of_all_tenants_need_an_unbound_key
        check (tenant is null or not scopes && array['admin', 'metrics'])
) with (fillfactor = 50);

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
        execute format('grant select, insert, update, delete on leaseq.tenants, leaseq.api_keys to %I', grantee);
    end loop;
end
$$;
