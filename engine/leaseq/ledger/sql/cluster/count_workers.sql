-- Count the open workers that were seen within so many seconds, and those that were not. Always one
-- row.
select
    count(*) filter (where seen)::integer as open,
    count(*) filter (where not seen)::integer as silent,
    extract(epoch from clock_timestamp())::float8 as now
from (
    select leaseq.last_seen(w.id) >= clock_timestamp() - make_interval(secs => %(lease_seconds)s) as seen
    from leaseq.workers as w
    where w.closed_at is null
) as w
