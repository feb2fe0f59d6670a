-- Queues that have a limit, and queues that are fair between tenants (docs/fairness.md, docs/decisions/0072-queues-with-limits.md). A task
-- without a limit of its own takes that of its queue when it is submitted. A queue that is fair has a limit of its own in `limits`: its
-- name is that of the queue behind a character that no other limit has, and a reaper sets its bound. The row of a queue that is plain again
-- stays, and says so by a null: `declared` is what an app has declared last, as in `limits`.
-- The tasks that were submitted before take the limit, too. Reapers walk the table of tasks for them `walks` times, each time behind `walked`.
-- `given` and `measured` count admissions, for the bound.
create table leaseq.queue_limits (
    queue text collate "C" primary key check (queue ~ '^[A-Za-z0-9_.-]{1,128}$'),
    limit_id integer references leaseq.limits (id),
    limit_name text,
    fair boolean not null default false,
    declared text,
    changed_at timestamptz not null default clock_timestamp(),
    walks smallint not null default 0,
    walked uuid not null default '00000000-0000-0000-0000-000000000000',
    measured bigint not null default 0,
    measured_at timestamptz not null default '-infinity',
    constraint limit_exists check ((limit_id is null) = (limit_name is null)),
    constraint fair_by_a_limit check (not fair or limit_id is not null)
);
alter table leaseq.guards add column given bigint not null default 0;

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
        execute format('grant select, insert, update, delete on leaseq.queue_limits to %I', granted.rolname);
    end loop;
end
$$;
