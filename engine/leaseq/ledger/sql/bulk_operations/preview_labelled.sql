-- Count what walk_labelled.sql would find among the first `rows` tasks with a label, by the clock of
-- Postgres at `as_of` (null: now). One row, as count_waiting.sql returns it.
with moment as (
    select least(coalesce(%(as_of)s::timestamptz, clock_timestamp()), clock_timestamp()) as as_of
), page as materialized (
    (
        select l.tenant, l.task_id from leaseq.labels as l
        where %(tenant)s::text is not null
            and l.name = %(name)s::text and l.value = %(value)s::text and l.tenant = %(tenant)s::text
        order by l.task_id
        limit %(rows)s
    )
    union all
    (
        select l.tenant, l.task_id from leaseq.labels as l
        where %(tenant)s::text is null and l.name = %(name)s::text and l.value = %(value)s::text
        order by l.tenant, l.task_id
        limit %(rows)s
    )
), matched as materialized (
    select p.task_id, t.queue, t.type, t.state, case when %(redrives)s::boolean then t.finished_at else t.created_at end as at
    from moment
    cross join page as p
    cross join lateral (
        select t.queue, t.type, t.state, t.created_at, t.finished_at, t.cancel_requested_at, t.erased_at, t.key_freed_at
        from leaseq.tasks as t where t.id = p.task_id limit 1
    ) as t
    where case
            when %(redrives)s::boolean then t.state = 'FAILED' and t.finished_at <= moment.as_of
                and t.erased_at is null and t.key_freed_at is null
                and (%(error)s::text is null or %(error)s::text = (
                    select d.fingerprint from leaseq.dead_letters as d where d.task_id = p.task_id limit 1
                ))
            else (
                t.state in ('PENDING', 'SCHEDULED')
                or (%(running)s::boolean and t.state = 'PROCESSING' and t.cancel_requested_at is null)
            ) and t.created_at <= moment.as_of
        end
        and (%(queue)s::text is null or t.queue = %(queue)s::text)
        and (%(type)s::text is null or t.type = %(type)s::text)
        and not exists (
            select from unnest(%(names)s::text[], %(values)s::text[]) as w (name, value)
            where not exists (
                select from leaseq.labels as l
                where l.name = w.name and l.value = w.value and l.tenant = p.tenant and l.task_id = p.task_id
            )
        )
)
select
    moment.as_of, (select count(*) from matched) as count, (select count(*) from page) < %(rows)s as exact,
    (select min(at) from matched) as oldest_at, (select max(at) from matched) as newest_at,
    coalesce((
        select json_agg(json_build_object('task_id', s.task_id, 'queue', s.queue, 'type', s.type, 'state', s.state, 'at', s.at))
        from (select * from matched order by task_id limit 5) as s
    ), '[]')::text as samples
from moment
