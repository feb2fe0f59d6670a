-- List the operations on one target, newest first, one page, as list_operations.sql does. The
-- statement follows the index on targets: a target has few operations, and may have none among the
-- latest thousands. `with_unbound` adds the operations of actors that were bound to no tenant.
with page as materialized (
    select o.*
    from (
        select * from leaseq.operations
        where target = %(target)s and (%(cursor)s::uuid is null or id < %(cursor)s::uuid)
        order by id desc
        limit %(rows)s
    ) as o
    where (%(tenant)s::text is null or o.tenant = %(tenant)s or (%(with_unbound)s and o.tenant is null))
        and (%(action)s::text is null or o.action = %(action)s)
        and (%(key_id)s::text is null or o.key_id = %(key_id)s)
    order by o.id desc
    limit %(limit)s
), rest as materialized (
    select id
    from leaseq.operations
    where (select count(*) from page) < %(limit)s and target = %(target)s
        and (%(cursor)s::uuid is null or id < %(cursor)s::uuid)
    order by id desc
    offset %(rows)s - 1
    limit 1
)
select
    (select id::text from rest) as cursor, page.id::text as operation_id, kind, action, target, tenant, key_id, actor, outcome, code,
    detail::text, began_at, ended_at
from (select) as one left join page on true
