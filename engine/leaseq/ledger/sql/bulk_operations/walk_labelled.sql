-- Of the next `rows` tasks with a label, in order of tenant and id, find at most `limit` that a bulk
-- operation changes: a redrive those that have FAILED until `as_of` (with `error`: with this
-- fingerprint), a cancel those that wait and were submitted until `as_of`, with `running` also those
-- that run and have no request yet. They have all the labels of the arrays. The statement follows the
-- index of the label: in one tenant, or in every one (null). One row always: how many entries it looked
-- at, the place of the last of them, the ids that it found, and the place of the last of those.
with page as materialized (
    (
        select l.tenant, l.task_id from leaseq.labels as l
        where %(tenant)s::text is not null
            and l.name = %(name)s::text and l.value = %(value)s::text and l.tenant = %(tenant)s::text
            and l.task_id > %(position)s::uuid
        order by l.task_id
        limit %(rows)s
    )
    union all
    (
        select l.tenant, l.task_id from leaseq.labels as l
        where %(tenant)s::text is null
            and l.name = %(name)s::text and l.value = %(value)s::text
            and (l.tenant, l.task_id) > (%(position_tenant)s::text, %(position)s::uuid)
        order by l.tenant, l.task_id
        limit %(rows)s
    )
), matched as materialized (
    select p.tenant, p.task_id
    from page as p
    cross join lateral (
        select t.queue, t.type, t.state, t.created_at, t.finished_at, t.cancel_requested_at, t.erased_at, t.key_freed_at
        from leaseq.tasks as t where t.id = p.task_id limit 1
    ) as t
    where case
            when %(redrives)s::boolean then t.state = 'FAILED' and t.finished_at <= %(as_of)s::timestamptz
                and t.erased_at is null and t.key_freed_at is null
                and (%(error)s::text is null or %(error)s::text = (
                    select d.fingerprint from leaseq.dead_letters as d where d.task_id = p.task_id limit 1
                ))
            else (
                t.state in ('PENDING', 'SCHEDULED')
                or (%(running)s::boolean and t.state = 'PROCESSING' and t.cancel_requested_at is null)
            ) and t.created_at <= %(as_of)s::timestamptz
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
    order by p.tenant, p.task_id
    limit %(limit)s
)
select
    (select count(*) from page) as looked,
    (select task_id::text || '|' || tenant from page order by tenant desc, task_id desc limit 1) as last_place,
    array(select task_id::text from matched order by tenant, task_id) as task_ids,
    (select task_id::text || '|' || tenant from matched order by tenant desc, task_id desc limit 1) as found_place
