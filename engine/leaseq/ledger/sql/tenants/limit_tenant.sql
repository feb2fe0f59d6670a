-- Set or remove (null) those quotas of a tenant that are named, and return the tenant as it is and the
-- quotas that it had. Zero rows: there is no such tenant.
with found as materialized (
    select name, unfinished, unfinished_per_queue, payload_bytes_per_day
    from leaseq.tenants
    where name = %(name)s
    for update
)
update leaseq.tenants as t
set
    unfinished = case
        when 'unfinished' = any(%(changed)s::text[]) then %(unfinished)s::bigint else t.unfinished
    end,
    unfinished_per_queue = case
        when 'unfinished_per_queue' = any(%(changed)s::text[]) then %(unfinished_per_queue)s::bigint else t.unfinished_per_queue
    end,
    payload_bytes_per_day = case
        when 'payload_bytes_per_day' = any(%(changed)s::text[]) then %(payload_bytes_per_day)s::bigint
        else t.payload_bytes_per_day
    end
from found
where t.name = found.name
returning
    t.name, t.created_at, t.unfinished, t.unfinished_per_queue, t.payload_bytes_per_day,
    found.unfinished as unfinished_before, found.unfinished_per_queue as unfinished_per_queue_before,
    found.payload_bytes_per_day as payload_bytes_per_day_before
