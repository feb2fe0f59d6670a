-- Record a bulk operation and let it run. The statement may be sent twice: an id starts once. Zero
-- rows: the id is taken, or its time is more than a day before the clock of Postgres, or more than a
-- minute after it. `operations` is listed and pruned in order of id.
with begun as (
    insert into leaseq.operations (id, kind, action, target, tenant, key_id, actor, detail)
    select
        %(id)s::uuid, 'bulk', %(action)s, %(target)s, %(tenant)s, %(key_id)s, %(actor)s, %(detail)s::json
    where ('x' || substr(replace(%(id)s::text, '-', ''), 1, 12))::bit(48)::bigint
        between extract(epoch from clock_timestamp() - interval '1 day') * 1000
        and extract(epoch from clock_timestamp() + interval '1 minute') * 1000
    on conflict do nothing
    returning id
)
insert into leaseq.bulk_operations
    (id, action, tenant, filter, ids, request, as_of, rate, reason, total, total_exact)
select
    id, %(action)s, %(tenant)s, %(filter)s::json, %(ids)s::uuid[], %(request)s, %(as_of)s, %(rate)s, %(reason)s, %(total)s,
    %(total_exact)s
from begun
returning id::text as operation_id
