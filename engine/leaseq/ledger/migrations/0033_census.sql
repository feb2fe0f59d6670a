-- Lists of dead letters by queue, type and tenant, newest first (docs/decisions/0056-counting-that-never-scans.md). The table is as
-- new as the version before this one and small, or filled by the reconciler meanwhile: an index takes a second for a million rows.
create index dead_letters_queue on leaseq.dead_letters (queue, task_id);
create index dead_letters_type on leaseq.dead_letters (type, task_id);
create index dead_letters_tenant on leaseq.dead_letters (tenant, task_id);

-- The last census: how many tasks of each queue and state there are, counted in a sample of the pages of `tasks`. One row at most,
-- which is replaced. `pages` of `of_pages` were asked for; `counts` has an array for each queue and state.
create table leaseq.census (
    only_row boolean primary key default true check (only_row),
    at timestamptz not null,
    pages bigint not null,
    of_pages bigint not null,
    counts json not null
) with (fillfactor = 50);

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
        execute format('grant select, insert, update, delete on leaseq.census to %I', grantee);
    end loop;
end
$$;
