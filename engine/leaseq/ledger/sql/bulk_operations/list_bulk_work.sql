-- List the bulk operations that run, and on which no other process works: its lease has run out
-- (`lease` seconds). A time of the lease in the future is one before the clock was set back.
select id::text as operation_id
from leaseq.bulk_operations
where state = 'running' and (
    touched_by is null or touched_by = %(process)s
    or abs(extract(epoch from clock_timestamp() - touched_at)) > %(lease)s::float8
)
order by id
