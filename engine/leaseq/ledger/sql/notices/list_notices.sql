-- List notices, newest first, one page, from the `rows` newest before `cursor` (null: of all). A
-- filter that is null does not filter. The column `last` is the id of the last notice that was looked
-- at, for the next page. Zero rows: there is nothing before `cursor`. One row without a name: no
-- notice among them matches.
with looked as materialized (
    select * from leaseq.notices
    where %(cursor)s::bigint is null or id < %(cursor)s::bigint
    order by id desc
    limit %(rows)s
), page as materialized (
    select * from looked
    where (%(name)s::text is null or name = %(name)s)
        and (%(queue)s::text is null or queue = %(queue)s)
        and (%(worker_id)s::text is null or worker_id = %(worker_id)s)
    order by id desc
    limit %(limit)s
)
select
    edge.last, edge.looked, page.id as notice_id, at, name, level, role, host, pid, queue, task_id::text, worker_id, fields::text, count
from (select min(id) as last, count(*) as looked from looked) as edge
left join page on true
where edge.last is not null
order by page.id desc
