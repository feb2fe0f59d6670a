-- Count the dead letters that match among the first `rows`, by the clock of Postgres at `as_of`
-- (null: now). One row, as count_waiting.sql returns it.
with moment as (
    select least(coalesce(%(as_of)s::timestamptz, clock_timestamp()), clock_timestamp()) as as_of
), page as materialized (
    select task_id, tenant, queue, type, failed_at, fingerprint
    from leaseq.dead_letters
    order by task_id
    limit %(rows)s
), matched as materialized (
    select p.task_id, p.queue, p.type, p.failed_at
    from page as p, moment
    where p.failed_at <= moment.as_of
        and (%(tenant)s::text is null or p.tenant = %(tenant)s)
        and (%(queue)s::text is null or p.queue = %(queue)s)
        and (%(type)s::text is null or p.type = %(type)s)
        and (%(error)s::text is null or p.fingerprint = %(error)s)
)
select
    moment.as_of, (select count(*) from matched) as count, (select count(*) from page) < %(rows)s as exact,
    (select min(failed_at) from matched) as oldest_at, (select max(failed_at) from matched) as newest_at,
    coalesce((
        select json_agg(json_build_object('task_id', s.task_id, 'queue', s.queue, 'type', s.type, 'state', 'FAILED', 'at', s.failed_at))
        from (select * from matched order by task_id limit 5) as s
    ), '[]')::text as samples
from moment
