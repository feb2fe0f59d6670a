-- Take the next `limit` failed attempts that were handed over since a moment (null: ever), and add each
-- to the group of its type and fingerprint and to the counts. No transition. Taking and adding are one
-- transaction: an attempt counts once, whichever process is killed. One process does this at a time; for
-- another one nothing is there. `most` is the number of groups that a type of a tenant may get in 24
-- hours; further ones are in the group 'many'. An acknowledged group that occurs in a version of the
-- application in which it was not known is not acknowledged any more. Rows are written in the order of
-- the primary keys. One row at least, never zero rows: how many attempts were taken, when the last of
-- them failed, and a group that is new, of the first 20 of them (null: none is new).
with turn as materialized (
    select pg_try_advisory_xact_lock(7205759403792794) as is_ours
), taken as materialized (
    delete from leaseq.uncounted_failures
    where ctid = any(array(
        select ctid from leaseq.uncounted_failures
        where (select is_ours from turn) and failed_at >= coalesce(%(since)s::timestamptz, '-infinity')
        order by failed_at
        limit %(limit)s
    ))
    returning task_id, attempt, tenant, queue, type, fingerprint, code, exception, frame, outcome, worker_id, failed_at
), occurring as materialized (
    select t.type, t.fingerprint, t.tenant, min(t.failed_at) as first_seen, exists (
        select from leaseq.failures as f
        where f.type = t.type and f.fingerprint = t.fingerprint and f.tenant = t.tenant
    ) as is_known
    from taken as t
    group by t.type, t.fingerprint, t.tenant
), fresh as materialized (
    select
        type, fingerprint, tenant, first_seen,
        row_number() over (partition by tenant, type order by first_seen, fingerprint) as number
    from occurring
    where not is_known
), room as materialized (
    select f.tenant, f.type, %(most)s - (
        select count(*) from leaseq.failures as old
        where old.tenant = f.tenant and old.type = f.type and old.first_seen > now() - interval '24 hours'
    ) as free
    from (select distinct tenant, type from fresh) as f
), placed as materialized (
    select
        t.*, case when f.number > r.free then 'many' else t.fingerprint end as name,
        coalesce(w.app_version, '') as version, coalesce(w.host, '') as host
    from taken as t
    left join fresh as f on f.type = t.type and f.fingerprint = t.fingerprint and f.tenant = t.tenant
    left join room as r on r.tenant = f.tenant and r.type = f.type
    left join leaseq.workers as w on w.id = t.worker_id
), grouped as materialized (
    select
        type, name, tenant, min(failed_at) as first_seen, max(failed_at) as last_seen,
        (array_agg(code order by failed_at desc))[1] as code,
        case when name = 'many' then '' else (array_agg(exception order by failed_at desc))[1] end as exception,
        case when name = 'many' then '' else (array_agg(frame order by failed_at desc))[1] end as frame,
        (array_agg(distinct queue))[:20] as queues,
        (array_agg(task_id order by failed_at desc))[:20] as tasks, (array_agg(attempt order by failed_at desc))[:20] as attempts
    from placed
    group by type, name, tenant
), versions as (
    select type, name, tenant, jsonb_object_agg(version, extract(epoch from seen)) as versions
    from (
        select type, name, tenant, version, min(failed_at) as seen from placed
        where version <> ''
        group by type, name, tenant, version
    ) as v
    group by type, name, tenant
), hosts as (
    select type, name, tenant, jsonb_object_agg(host, extract(epoch from seen)) as hosts
    from (
        select type, name, tenant, host, max(failed_at) as seen from placed
        where host <> ''
        group by type, name, tenant, host
    ) as h
    group by type, name, tenant
), kept as (
    insert into leaseq.failures as f (
        type, fingerprint, tenant, code, exception, frame, queues, versions, hosts, tasks, attempts, first_seen, last_seen
    )
    select
        g.type, g.name, g.tenant, g.code, g.exception, g.frame, g.queues, coalesce(v.versions, '{}'), coalesce(h.hosts, '{}'), g.tasks,
        g.attempts, g.first_seen, g.last_seen
    from grouped as g
    left join versions as v on v.type = g.type and v.name = g.name and v.tenant = g.tenant
    left join hosts as h on h.type = g.type and h.name = g.name and h.tenant = g.tenant
    order by g.type, g.name, g.tenant
    on conflict (type, fingerprint, tenant) do update
    set first_seen = least(f.first_seen, excluded.first_seen),
        last_seen = greatest(f.last_seen, excluded.last_seen),
        queues = array(select distinct q from unnest(excluded.queues || f.queues) as q order by q limit 20),
        versions = (
            select coalesce(jsonb_object_agg(key, value), '{}') from (
                select key, value from jsonb_each(excluded.versions || f.versions) order by value desc limit 20
            ) as v
        ),
        hosts = (
            select coalesce(jsonb_object_agg(key, value), '{}') from (
                select key, value from jsonb_each(f.hosts || excluded.hosts) order by value desc limit 20
            ) as h
        ),
        tasks = (excluded.tasks || f.tasks)[:20],
        attempts = (excluded.attempts || f.attempts)[:20],
        acknowledged_at = case when exists (
            select from jsonb_object_keys(excluded.versions) as v where v <> all(f.acknowledged_in)
        ) then null else f.acknowledged_at end,
        returned_at = case when f.acknowledged_at is not null and exists (
            select from jsonb_object_keys(excluded.versions) as v where v <> all(f.acknowledged_in)
        ) then excluded.last_seen else f.returned_at end
), counted as (
    insert into leaseq.failure_counts as c (type, fingerprint, step, at, tenant, outcome, n)
    select
        p.type, p.name, s.step, date_bin(make_interval(mins => s.step), p.failed_at, '2000-01-01 00:00:00+00'), p.tenant,
        p.outcome, count(*)
    from placed as p
    cross join (values (10), (60)) as s (step)
    group by 1, 2, 3, 4, 5, 6
    order by 1, 2, 3, 4, 5, 6
    on conflict (type, fingerprint, step, at, tenant, outcome) do update set n = c.n + excluded.n
)
select
    (select count(*) from taken) as taken, (select max(failed_at) from taken) as last, n.type, n.fingerprint, n.tenant,
    (select g.code from grouped as g where g.type = n.type and g.name = n.fingerprint and g.tenant = n.tenant) as code
from (select) as one
left join (
    select f.type, f.fingerprint, f.tenant
    from fresh as f
    join room as r on r.tenant = f.tenant and r.type = f.type
    where f.number <= r.free
    order by f.first_seen
    limit 20
) as n on true
