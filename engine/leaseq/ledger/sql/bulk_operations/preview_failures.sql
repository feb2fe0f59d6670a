-- The same for the dead letters of one type and fingerprint, by the index on them.
with moment as (
    select least(coalesce(%(as_of)s::timestamptz, clock_timestamp()), clock_timestamp()) as as_of
), page as materialized (
    select task_id, tenant, queue, type, failed_at
    from leaseq.dead_letters
    where type = %(type)s and fingerprint = %(error)s
    order by failed_at, task_id
    limit %(rows)s
), matched as materialized (
    select p.task_id, p.queue, p.type, p.failed_at
    from page as p, moment
    where p.failed_at <= moment.as_of
        and (%(tenant)s::text is null or p.tenant = %(tenant)s)
        and (%(queue)s::text is null or p.queue = %(queue)s)
)
select
    moment.as_of, (select count(*) from matched) as count, (select count(*) from page) < %(rows)s as exact,
    (select min(failed_at) from matched) as oldest_at, (select max(failed_at) from matched) as newest_at,
    coalesce((
        select json_agg(json_build_object('task_id', s.task_id, 'queue', s.queue, 'type', s.type, 'state', 'FAILED', 'at', s.failed_at))
        from (select * from matched order by failed_at, task_id limit 5) as s
    ), '[]')::text as samples
from moment
