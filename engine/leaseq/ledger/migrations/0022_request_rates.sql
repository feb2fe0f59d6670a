-- A limit on the requests of an API key (docs/quotas.md, docs/decisions/0051-request-rates-in-postgres.md): a bucket of at most
-- `burst` tokens, which gets `rate` of them each second. Null: no limit. A bucket is a row of an unlogged table: taking tokens
-- writes no WAL and waits for no disk and no standby. After a crash of Postgres the table is empty, and each bucket is full.
-- Processes of an older version apply no limit.
alter table leaseq.api_keys
    add column rate double precision check (rate > 0),
    add column burst integer check (burst > 0),
    add constraint a_rate_has_a_burst check ((rate is null) = (burst is null));

-- `rate`, `burst` and `wanted` are those of the last look, `granted` is its answer, and `tokens` are left after it.
create unlogged table leaseq.rate_buckets (
    key_id text primary key,
    rate double precision not null,
    burst integer not null,
    wanted integer not null,
    granted integer not null,
    tokens double precision not null,
    looked_at timestamptz not null
) with (fillfactor = 20);

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
        execute format('grant select, insert, update, delete on leaseq.rate_buckets to %I', grantee);
    end loop;
end
$$;
