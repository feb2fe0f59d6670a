-- Measure queues for the metrics of the cluster: whether each is paused, how many open workers
-- serve it, and for how many seconds its first task has been due that is still SCHEDULED (null:
-- it has none that is due). At most %(limit)s queues, those that workers serve first. Postgres reads
-- one entry of the index `scheduled_due` for each queue and priority. Zero rows: no queue is known.
with served as (
    select name, count(*) as workers
    from leaseq.workers as w, unnest(w.queues) as name
    where w.closed_at is null
    group by name
), listed as (
    select q.name, q.paused, coalesce(served.workers, 0)::integer as workers
    from leaseq.queues as q
    left join served on served.name = q.name
    order by served.workers desc nulls last, q.name
    limit %(limit)s
)
select
    listed.name, listed.paused, listed.workers,
    extract(epoch from clock_timestamp() - due.first)::float8 as overdue_seconds
from listed
left join lateral (
    select min(p.first) as first
    from unnest(array[0, 1, 2]) as priority,
        lateral (
            select s.run_at as first from leaseq.scheduled as s
            where s.queue = listed.name and s.priority = priority
            order by s.run_at
            limit 1
        ) as p
    where p.first < clock_timestamp()
) as due on true
