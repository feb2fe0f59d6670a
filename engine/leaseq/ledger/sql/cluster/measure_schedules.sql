-- Count the schedules for the metrics of the cluster: those that fire, those that are paused, and those whose
-- end has passed; and for how many seconds the first one has been due that no reaper has fired. Reads at most
-- 500 pages of `schedules`, which is all of some 5,000, and reckons the whole from more. One row always.
with shares as (
    select least(1, 500 * 8192.0 / greatest(pg_relation_size('leaseq.schedules'), 1))::float8 as share
), sampled as (
    select
        count(*) filter (where paused_at is null and next_at is not null) as running,
        count(paused_at) as paused,
        count(*) filter (where paused_at is null and next_at is null) as over
    from leaseq.schedules tablesample system (
        least(100, 100 * 500 * 8192.0 / greatest(pg_relation_size('leaseq.schedules'), 1))
    )
)
select
    round(running / share)::bigint as running, round(paused / share)::bigint as paused, round(over / share)::bigint as over,
    coalesce(greatest(extract(epoch from clock_timestamp() - (
        select s.due_at from leaseq.schedules as s
        where s.paused_at is null and s.due_at is not null
        order by s.due_at
        limit 1
    )), 0), 0)::float8 as overdue_seconds
from sampled, shares
