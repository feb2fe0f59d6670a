-- Count those of a list of tasks that an operation would change, as of a time (null: now): a redrive
-- those that have FAILED or were CANCELLED until then, a cancel those that wait, with `running` also
-- those that run. One row, as count_waiting.sql returns it.
with moment as (
    select least(coalesce(%(as_of)s::timestamptz, clock_timestamp()), clock_timestamp()) as as_of
), matched as materialized (
    select t.id, t.queue, t.type, t.state, case when %(redrives)s then t.finished_at else t.created_at end as at
    from leaseq.tasks as t, moment
    where t.id = any(%(ids)s::uuid[]) and (%(tenant)s::text is null or t.tenant = %(tenant)s)
        and case
            when %(redrives)s then t.state in ('FAILED', 'CANCELLED') and t.finished_at <= moment.as_of
                and t.erased_at is null and t.key_freed_at is null
            else (t.state in ('PENDING', 'SCHEDULED') or (%(running)s and t.state = 'PROCESSING'))
                and t.created_at <= moment.as_of
        end
)
select
    moment.as_of, (select count(*) from matched) as count, true as exact,
    (select min(at) from matched) as oldest_at, (select max(at) from matched) as newest_at,
    coalesce((
        select json_agg(json_build_object('task_id', s.id, 'queue', s.queue, 'type', s.type, 'state', s.state, 'at', s.at))
        from (select * from matched order by id limit 5) as s
    ), '[]')::text as samples
from moment
