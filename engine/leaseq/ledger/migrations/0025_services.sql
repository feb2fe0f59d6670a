-- Services announce themselves: reapers, API processes and supervisors, one row for each process, which it writes again every few
-- seconds (docs/decisions/0054-services-announce-themselves.md). So the answer to a question like "does a reaper run" is a fact of the
-- ledger. `beat_seconds` is how often the process writes its row, so that a reader knows how long a silence may last. `detail` is
-- small and depends on the role. A process of an older version has no row. No index besides the primary key, and a low fill factor:
-- each write is a HOT update.
create table leaseq.services (
    id text primary key,
    role text not null check (role in ('api', 'reaper', 'supervisor')),
    host text not null,
    pid integer not null,
    version text not null,
    beat_seconds double precision not null check (beat_seconds > 0),
    detail json not null,
    started_at timestamptz not null default clock_timestamp(),
    last_seen timestamptz not null default clock_timestamp(),
    ended_at timestamptz
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
        execute format('grant select, insert, update, delete on leaseq.services to %I', grantee);
    end loop;
end
$$;
