-- Rates of limits, strict order in one key, and weights of keys (docs/limits.md, docs/decisions/0071-tokens-at-the-start.md). The texts of
-- the rates are for people. What is computed from them stands in `guards`, in the row that a start locks: seconds for a token, the tokens
-- that a full bucket has, and the time at which the bucket is full again (`tat`). Processes of an older version write none of these
-- columns, and every default means "no rate": they are added without a rewrite. `turns` counts the tasks that the key of the last turn has
-- had in it, for weights. `started_at` of a permit: its attempt has a token.
alter table leaseq.limits
    add column rate text, add column burst integer check (burst >= 0), add column key_rate text, add column key_burst integer check (key_burst >= 0),
    add column strict boolean not null default false, add column weights jsonb,
    drop constraint bounds_something,
    add constraint bounds_something check (num_nonnulls(concurrency, key_concurrency, rate, key_rate) > 0),
    add constraint one_at_a_time check (not strict or key_concurrency = 1);
alter table leaseq.guards
    add column rate_every numeric, add column rate_most numeric, add column key_every numeric, add column key_most numeric,
    add column tat timestamptz, add column turns integer not null default 0;
alter table leaseq.limited add column started_at timestamptz;

-- The buckets of keys, for limits with a rate for each key. A bucket that is full has no row, or one whose `tat` is past.
create table leaseq.buckets (
    limit_id integer not null references leaseq.limits (id) on delete cascade,
    tenant text collate "C" not null,
    key text collate "C" not null,
    tat timestamptz not null,
    primary key (limit_id, tenant, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);

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
        execute format('grant select, insert, update, delete on leaseq.buckets to %I', granted.rolname);
    end loop;
end
$$;
