-- List notices, newest first, one page, from the `rows` newest behind the notice `cursor` (null: of
-- all) whose time is not before `since` and before `until` (null: any). A filter that is null does not
-- filter. The column `last` is the id of the last notice that was looked at, for the next page. A
-- `cursor` that was pruned has nothing behind it. Zero rows: there is nothing behind `cursor`. One row
-- without a name: no notice among them matches.
with looked as materialized (
    select * from leaseq.notices
    where (at, id) < (
        select
            case when %(cursor)s::bigint is null then 'infinity'
                else coalesce((select c.at from leaseq.notices as c where c.id = %(cursor)s::bigint), '-infinity') end,
            coalesce(%(cursor)s::bigint, 0)
    )
        and at >= coalesce(%(since)s::timestamptz, '-infinity') and at < coalesce(%(until)s::timestamptz, 'infinity')
    order by at desc, id desc
    limit %(rows)s
), page as materialized (
    select * from looked
    where (%(name)s::text is null or name = %(name)s)
        and (%(queue)s::text is null or queue = %(queue)s)
        and (%(worker_id)s::text is null or worker_id = %(worker_id)s)
    order by at desc, id desc
    limit %(limit)s
)
select
    edge.last, edge.looked, page.id as notice_id, at, name, level, role, host, pid, queue, task_id::text, worker_id, fields::text, count
from (select (array_agg(id order by at, id))[1] as last, count(*) as looked from looked) as edge
left join page on true
where edge.last is not null
order by page.at desc, page.id desc
