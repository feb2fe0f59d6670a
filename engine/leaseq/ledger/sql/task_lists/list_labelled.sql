-- List the tasks with all of these labels, newest first, one page: of one tenant, or of every tenant
-- (null). These parts stand in front of the last one of list_tasks.sql (statements.py), which shows
-- what the columns are. For each label the statement looks at the newest `rows` entries of its index
-- before `cursor`: of one tenant, or divided among the tenants that have such a label, at least
-- `share` for each. The label that reaches furthest back leads. Its tasks are looked up one by one, newest
-- first, until the page is full. The other labels and the filters are compared with each of them. The
-- column `cursor` is the id up to which the label that leads was looked at; it is null on a full page
-- and on the last one. Those who divide among tenants have seen all entries down to the newest of the
-- ids at which the parts end. One row without a `task_id`: nothing was found.
with recursive wanted as (
    select * from unnest(%(names)s::text[], %(values)s::text[]) with ordinality as w (name, value, place)
), owners as (
    -- From one tenant to the next one: one look into the index for each.
    select w.name, w.value, w.place, coalesce(%(tenant)s::text, (
        select l.tenant from leaseq.labels as l where l.name = w.name and l.value = w.value order by l.tenant limit 1
    )) as tenant
    from wanted as w
    union all
    select o.name, o.value, o.place, (
        select l.tenant from leaseq.labels as l
        where l.name = o.name and l.value = o.value and l.tenant > o.tenant
        order by l.tenant limit 1
    )
    from owners as o
    where o.tenant is not null and %(tenant)s::text is null
), shares as (
    select place, greatest(%(rows)s / count(*), least(%(share)s, %(rows)s)) as entries from owners where tenant is not null group by place
), looked as materialized (
    select o.place, o.tenant, e.task_id, s.entries
    from owners as o
    join shares as s on s.place = o.place
    cross join lateral (
        select l.task_id from leaseq.labels as l
        where l.name = o.name and l.value = o.value and l.tenant = o.tenant
            and l.task_id < coalesce(%(cursor)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        order by l.task_id desc
        limit s.entries
    ) as e
    where o.tenant is not null
), ends as (
    select place, (array_agg(task_id order by task_id))[1] as last_id
    from looked
    group by place, tenant, entries
    having count(*) = entries
), lead as materialized (
    select w.place, (select e.last_id from ends as e where e.place = w.place order by e.last_id desc limit 1) as last_id
    from wanted as w
    order by last_id nulls first, (select count(*) from looked as k where k.place = w.place), w.place
    limit 1
), page as materialized (
    select t.*
    from (
        select k.task_id, k.tenant
        from looked as k
        join lead on lead.place = k.place and k.task_id >= coalesce(lead.last_id, k.task_id)
        order by k.task_id desc
    ) as k
    cross join lateral (
        select * from leaseq.tasks as t where t.id = k.task_id limit 1
    ) as t
    where not exists (
            select from wanted as w
            where w.place <> (select place from lead) and not exists (
                select from leaseq.labels as l
                where l.name = w.name and l.value = w.value and l.tenant = k.tenant and l.task_id = k.task_id
            )
        )
        and (%(state)s::text is null or t.state = %(state)s::text)
        and (%(queue)s::text is null or t.queue = %(queue)s::text)
        and (%(type)s::text is null or t.type = %(type)s::text)
        and (%(error)s::text is null or t.state = 'FAILED' and %(error)s::text = (
            select d.fingerprint from leaseq.dead_letters as d where d.task_id = k.task_id limit 1
        ))
    order by k.task_id desc
    limit %(limit)s
), rest as materialized (
    select last_id as id from lead where (select count(*) from page) < %(limit)s
)
