-- Count what find_waiting.sql would find among the newest `rows` tasks, by the clock of Postgres at
-- `as_of` (null: now). One row: the number, the first and the last submission, at most five of the
-- tasks, and whether there are older tasks, which were not looked at.
with moment as (
    select least(coalesce(%(as_of)s::timestamptz, clock_timestamp()), clock_timestamp()) as as_of
), page as materialized (
    select id, tenant, queue, type, state, created_at, cancel_requested_at
    from leaseq.tasks
    order by id desc
    limit %(rows)s
), matched as materialized (
    select p.id, p.queue, p.type, p.state, p.created_at
    from page as p, moment
    where (p.state in ('PENDING', 'SCHEDULED') or (%(running)s and p.state = 'PROCESSING' and p.cancel_requested_at is null))
        and p.created_at <= moment.as_of
        and (%(tenant)s::text is null or p.tenant = %(tenant)s)
        and (%(queue)s::text is null or p.queue = %(queue)s)
        and (%(type)s::text is null or p.type = %(type)s)
)
select
    moment.as_of, (select count(*) from matched) as count, (select count(*) from page) < %(rows)s as exact,
    (select min(created_at) from matched) as oldest_at, (select max(created_at) from matched) as newest_at,
    coalesce((
        select json_agg(json_build_object('task_id', s.id, 'queue', s.queue, 'type', s.type, 'state', s.state, 'at', s.created_at))
        from (select * from matched order by id desc limit 5) as s
    ), '[]')::text as samples
from moment
