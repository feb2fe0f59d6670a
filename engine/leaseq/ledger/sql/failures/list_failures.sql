-- List groups of failures of a tenant (of every tenant, whose groups of one fingerprint are one: null)
-- that have occurred within `window` seconds, the one that occurred last first, one page. The filters
-- are null for any. With `new` seconds only groups that were first seen, or came back, within these. A
-- page begins behind the group (last seen, type, fingerprint) of the parameters
-- `cursor_at`, `cursor_type` and `cursor_fingerprint`. `dead` is counted up to `dead_most`. The array
-- `hours` has the counts of the last 24 hours, this one last. Counts of ten minutes begin at a multiple
-- of ten minutes, so `in_hour` covers 50 to 60 minutes. `error` is the beginning of the error of the
-- newest attempt; an error may be JSON that Postgres cannot read. Zero rows: there are none.
with groups as (
    select
        f.type, f.fingerprint, f.first_seen, f.last_seen, f.code, f.exception, f.frame, f.tasks, f.attempts, f.acknowledged_at,
        f.acknowledged_by, f.returned_at,
        case
            when f.acknowledged_at is not null then 'acknowledged'
            when coalesce(f.returned_at, f.first_seen) > now() - interval '24 hours' then 'new'
            else 'known'
        end as state
    from leaseq.failures as f
    where f.last_seen > now() - make_interval(secs => %(window)s)
        and (%(tenant)s::text is null or f.tenant = %(tenant)s::text)
        and (%(type)s::text is null or f.type = %(type)s::text)
        and (%(fingerprint)s::text is null or f.fingerprint = %(fingerprint)s::text)
        and (%(queue)s::text is null or %(queue)s::text = any(f.queues))
        and (%(new)s::float8 is null or coalesce(f.returned_at, f.first_seen) > now() - make_interval(secs => %(new)s))
), page as materialized (
    select
        type, fingerprint, min(first_seen) as first_seen, max(last_seen) as last_seen, max(state collate "C") as state,
        (array_agg(code order by last_seen desc))[1] as code, max(exception) as exception, max(frame) as frame,
        max(acknowledged_at) as acknowledged_at, (array_agg(acknowledged_by order by acknowledged_at desc nulls last))[1] as acknowledged_by,
        max(returned_at) as returned_at, (array_agg(tasks[1]::text order by last_seen desc))[1] as task_id,
        (array_agg(attempts[1] order by last_seen desc))[1] as attempt
    from groups
    group by type, fingerprint
    having (%(state)s::text is null or max(state collate "C") = %(state)s::text)
        and (%(cursor_at)s::timestamptz is null
            or (max(last_seen), type, fingerprint) < (%(cursor_at)s::timestamptz, %(cursor_type)s::text, %(cursor_fingerprint)s::text))
    order by max(last_seen) desc, type desc, fingerprint desc
    limit %(limit)s
)
select
    p.type, p.fingerprint, p.first_seen, p.last_seen, p.state, p.code, p.exception, p.frame, p.task_id, p.attempt, p.acknowledged_at,
    p.acknowledged_by, p.returned_at, sample.error, places.queues, places.versions::text, places.hosts, coalesce(c.in_hour, 0)::bigint as in_hour,
    coalesce(c.in_day, 0)::bigint as in_day, coalesce(c.in_week, 0)::bigint as in_week,
    array(
        select coalesce(sum(h.n), 0)::bigint
        from generate_series(date_trunc('hour', now()) - interval '23 hours', date_trunc('hour', now()), interval '1 hour') as s (at)
        left join leaseq.failure_counts as h
            on h.type = p.type and h.fingerprint = p.fingerprint and h.step = 60 and h.at = s.at
            and (%(tenant)s::text is null or h.tenant = %(tenant)s::text)
        group by s.at
        order by s.at
    ) as hours,
    (
        select count(*) from (
            select from leaseq.dead_letters as d
            where d.type = p.type and d.fingerprint = p.fingerprint and (%(tenant)s::text is null or d.tenant = %(tenant)s::text)
            limit %(dead_most)s
        ) as d
    ) as dead
from page as p
cross join lateral (
    select
        array(
            select distinct q from leaseq.failures as g cross join unnest(g.queues) as q
            where g.type = p.type and g.fingerprint = p.fingerprint and (%(tenant)s::text is null or g.tenant = %(tenant)s::text)
            order by q
            limit 20
        ) as queues,
        array(
            select distinct h from leaseq.failures as g cross join jsonb_object_keys(g.hosts) as h
            where g.type = p.type and g.fingerprint = p.fingerprint and (%(tenant)s::text is null or g.tenant = %(tenant)s::text)
            order by h
            limit 20
        ) as hosts,
        (
            select coalesce(jsonb_object_agg(v.version, v.seen), '{}') from (
                select e.key as version, min(e.value::text::float8) as seen from leaseq.failures as g cross join jsonb_each(g.versions) as e
                where g.type = p.type and g.fingerprint = p.fingerprint and (%(tenant)s::text is null or g.tenant = %(tenant)s::text)
                group by e.key
            ) as v
        ) as versions
) as places
left join lateral (
    select
        sum(n) filter (where step = 10 and at > now() - interval '1 hour') as in_hour,
        sum(n) filter (where step = 60 and at > now() - interval '24 hours') as in_day,
        sum(n) filter (where step = 60) as in_week
    from leaseq.failure_counts
    where type = p.type and fingerprint = p.fingerprint and at > now() - interval '7 days'
        and (%(tenant)s::text is null or tenant = %(tenant)s::text)
) as c on true
left join lateral (
    select left(a.error::text, 3000) as error from leaseq.attempts as a
    where a.task_id = p.task_id::uuid and a.attempt = p.attempt
) as sample on true
order by p.last_seen desc, p.type desc, p.fingerprint desc
