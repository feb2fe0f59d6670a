-- Measure limits for the metrics of the cluster: the tasks with a permit, those that wait for one, and for how
-- many seconds the oldest of these waits. At most so many limits, those with most waiting tasks first. Reads
-- at most 500 pages of `limited`, which is all of it up to some 30,000 rows, and reckons the whole from a
-- larger one; then the oldest is that of the sample. Zero rows: there is no limit.
with shares as (
    select least(1, 500 * 8192.0 / greatest(pg_relation_size('leaseq.limited'), 1))::float8 as share
), sampled as (
    select
        limit_id, count(admitted_at) as admitted, count(*) filter (where admitted_at is null and due) as waiting,
        min(since) filter (where admitted_at is null and due) as since
    from leaseq.limited tablesample system (
        least(100, 100 * 500 * 8192.0 / greatest(pg_relation_size('leaseq.limited'), 1))
    )
    group by limit_id
)
select
    l.name, l.concurrency, round(coalesce(s.admitted, 0) / share)::bigint as admitted,
    round(coalesce(s.waiting, 0) / share)::bigint as waiting,
    coalesce(greatest(extract(epoch from clock_timestamp() - s.since), 0), 0)::float8 as oldest_seconds
from shares
cross join leaseq.limits as l
left join sampled as s on s.limit_id = l.id
order by coalesce(s.waiting, 0) desc, l.name
limit %(limit)s
