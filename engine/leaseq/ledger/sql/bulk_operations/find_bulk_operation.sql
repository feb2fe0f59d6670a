-- Read a bulk operation of actors bound to this tenant (null: to any). Zero rows: there is none.
select
    b.id::text as operation_id, b.action, b.tenant, b.filter::text, cardinality(b.ids) as id_count, b.request, b.as_of, b.rate, b.reason,
    b.state, b.total, b.total_exact, b.looked, b.done, b.refused, b.refusals::text, b.touched_at, b.touched_by, o.actor, o.key_id,
    o.began_at, b.ended_at
from leaseq.bulk_operations as b
join leaseq.operations as o on o.id = b.id
where b.id = %(id)s and (%(tenant)s::text is null or b.tenant = %(tenant)s)
