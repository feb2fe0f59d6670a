-- Operations on many tasks: cancel or redrive by filter, or by a list of ids (docs/bulk-operations.md,
-- docs/decisions/0059-a-step-moves-the-position.md). Each has a row in `operations`, whose `kind` is `bulk`, and one here with its
-- progress. API processes work on it in steps. A step is one transaction that changes tasks and moves `position`, so that a crash
-- repeats nothing. `paced_at` is the time up to which the rate is used, `touched_at` and `touched_by` are the lease of the process
-- that works on it. `request` is a hash of the request, by which a repeated request is told from another one with the same id.
create table leaseq.bulk_operations (
    id uuid primary key references leaseq.operations (id) on delete cascade,
    action text not null check (action in ('cancel', 'redrive')),
    tenant text,
    filter json not null,
    ids uuid[],
    request text not null,
    as_of timestamptz not null,
    rate double precision not null check (rate > 0),
    reason text,
    state text not null default 'running' check (state = any ('{running,stopped,done}')),
    total bigint not null,
    total_exact boolean not null,
    looked bigint not null default 0,
    done bigint not null default 0,
    refused bigint not null default 0,
    refusals json not null default '{}',
    position text,
    paced_at timestamptz not null default clock_timestamp(),
    touched_at timestamptz,
    touched_by text,
    ended_at timestamptz,
    constraint ended_exactly_when_done check ((ended_at is not null) = (state = 'done'))
) with (fillfactor = 50);
create index bulk_operations_running on leaseq.bulk_operations (id) where state = 'running';

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
        execute format('grant select, insert, update, delete on leaseq.bulk_operations to %I', grantee);
    end loop;
end
$$;
