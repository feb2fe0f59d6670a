-- Lock a bulk operation for one step of this process. `due` is the number of tasks that its rate
-- allows now. The unused part accumulates for a second at most, or for the time of one task. Zero
-- rows: it does not run, another process has the lease, or another session has locked it.
select
    action, tenant, filter::text, ids is not null as listed, as_of, position, refusals::text, done, refused, total, total_exact,
    floor(rate * least(abs(extract(epoch from clock_timestamp() - paced_at))::float8, greatest(1.0, 1.0 / rate)) + 1e-6)::bigint as due
from leaseq.bulk_operations
where id = %(id)s and state = 'running' and (
    touched_by is null or touched_by = %(process)s
    or abs(extract(epoch from clock_timestamp() - touched_at)) > %(lease)s::float8
)
for update skip locked
