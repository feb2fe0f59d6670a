-- List operations, newest first, one page, as list_tasks.sql lists tasks: the statement follows the
-- primary key from the parameter `cursor`, looks at `rows` operations at most, and filters.
-- `tenant` is the tenant of the actor (null: of every one). The column `cursor` is the id of the
-- last operation that was looked at, on a page that is not full and not the last one; it is null
-- otherwise. One row without an `operation_id`: nothing was found. The page comes in any order.
with page as materialized (
    select o.*
    from (
        select * from leaseq.operations
        where %(cursor)s::uuid is null or id < %(cursor)s::uuid
        order by id desc
        limit %(rows)s
    ) as o
    where (%(tenant)s::text is null or o.tenant = %(tenant)s)
        and (%(action)s::text is null or o.action = %(action)s)
        and (%(key_id)s::text is null or o.key_id = %(key_id)s)
    order by o.id desc
    limit %(limit)s
), rest as materialized (
    select id
    from leaseq.operations
    where (select count(*) from page) < %(limit)s and (%(cursor)s::uuid is null or id < %(cursor)s::uuid)
    order by id desc
    offset %(rows)s - 1
    limit 1
)
select
    (select id::text from rest) as cursor, page.id::text as operation_id, kind, action, target, tenant, key_id, actor, outcome, code,
    detail::text, began_at, ended_at
from (select) as one left join page on true
