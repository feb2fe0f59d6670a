-- Statistics over time (docs/statistics.md, docs/decisions/0057-statistics-in-two-steps.md). Each process counts in memory and inserts
-- every ten seconds what has changed. A reaper folds these rows into sums for each minute, ten minutes and hour. Processes of an older
-- version insert nothing, and reapers of an older version fold nothing: the rows wait. No statement on tasks touches these tables.
--
-- What one process has counted for one type in one queue since its flush before. `waits` and `runs` are histograms without trailing
-- zeros: their bounds are those of docs/metrics.md with the half steps between. Rows live for half a minute, so the table is vacuumed by
-- their number.
create table leaseq.tallies (
    at timestamptz not null,
    queue text not null,
    type text not null,
    created bigint not null,
    replayed bigint not null,
    started bigint not null,
    succeeded bigint not null,
    errored bigint not null,
    timed_out bigint not null,
    cancelled bigint not null,
    released bigint not null,
    lost bigint not null,
    failed_tasks bigint not null,
    cancelled_tasks bigint not null,
    waited double precision not null,
    ran double precision not null,
    waits integer[] not null,
    runs integer[] not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
create index tallies_at on leaseq.tallies (at);

-- The number of the last flush of each process, so that a flush whose answer was lost is not counted twice, also after its rows were
-- folded. `at` tells that the process still reports.
create table leaseq.tally_flushes (
    process uuid primary key,
    role text not null check (role in ('api', 'reaper', 'supervisor', 'program')),
    flush bigint not null,
    at timestamptz not null
) with (fillfactor = 50);

-- Sums of tallies by steps of so many seconds. A tally is added to one row of each step in the statement that deletes it. No index
-- besides the primary key, and room in each block: most writes are HOT updates.
create table leaseq.stats (
    step smallint not null check (step in (60, 600, 3600)),
    at timestamptz not null,
    queue text not null,
    type text not null,
    created bigint not null,
    replayed bigint not null,
    started bigint not null,
    succeeded bigint not null,
    errored bigint not null,
    timed_out bigint not null,
    cancelled bigint not null,
    released bigint not null,
    lost bigint not null,
    failed_tasks bigint not null,
    cancelled_tasks bigint not null,
    waited double precision not null,
    ran double precision not null,
    waits integer[] not null,
    runs integer[] not null,
    primary key (step, at, queue, type)
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);

-- One row, which a fold updates: so there is one fold at a time, and it sees what the one before has written. `began_at`: when a
-- process reported for the first time.
create table leaseq.stats_fold (
    one boolean primary key default true check (one),
    folded_at timestamptz not null default '-infinity',
    began_at timestamptz
) with (fillfactor = 50);
insert into leaseq.stats_fold default values;

-- The roles of services may read and write them without another `leaseq migrate --grants`, as in 0013.
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
        execute format(
            'grant select, insert, update, delete on leaseq.tallies, leaseq.tally_flushes, leaseq.stats, leaseq.stats_fold to %I', grantee
        );
    end loop;
end
$$;
