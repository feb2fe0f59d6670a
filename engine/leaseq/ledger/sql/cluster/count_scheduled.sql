-- Count the SCHEDULED tasks by queue, the most first, at most so many queues. Reads at most 500 pages of
-- `scheduled`, which is all of it up to some 30,000 rows, and reckons the whole from a larger one. Zero
-- rows: nothing is scheduled.
with shares as (
    select least(1, 500 * 8192.0 / greatest(pg_relation_size('leaseq.scheduled'), 1))::float8 as share
), sampled as (
    select queue, count(*) as found
    from leaseq.scheduled tablesample system (
        least(100, 100 * 500 * 8192.0 / greatest(pg_relation_size('leaseq.scheduled'), 1))
    )
    group by queue
)
select queue, round(found / share)::bigint as count
from sampled, shares
order by found desc, queue
limit %(limit)s
