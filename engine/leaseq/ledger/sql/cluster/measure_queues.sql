-- Measure queues for the metrics of the cluster: whether each is paused, how many open workers
-- serve it, how many slots their supervisors have announced (those of the first 50 queues of each),
-- and for how many seconds its first task has been due that is still SCHEDULED (null:
-- it has none that is due). At most %(limit)s queues, those that workers serve first. Postgres reads
-- one entry of the index `scheduled_due` for each queue and priority. Zero rows: no queue is known.
with served as (
    select name, count(*) as workers
    from leaseq.workers as w, unnest(w.queues) as name
    where w.closed_at is null
    group by name
), announced as (
    select name, sum((s.detail ->> 'slots')::integer) as slots
    from leaseq.services as s, json_array_elements_text(s.detail -> 'queues') as name
    where s.role = 'supervisor' and s.ended_at is null
        and s.last_seen >= clock_timestamp() - make_interval(secs => 3 * s.beat_seconds)
    group by name
), listed as (
    select q.name, q.paused, coalesce(served.workers, 0)::integer as workers, coalesce(a.slots, 0)::integer as slots
    from leaseq.queues as q
    left join served on served.name = q.name
    left join announced as a on a.name = q.name
    order by served.workers desc nulls last, q.name
    limit %(limit)s
)
select
    listed.name, listed.paused, listed.workers, listed.slots,
    extract(epoch from clock_timestamp() - due.first)::float8 as overdue_seconds
from listed
left join lateral (
    select min(p.first) as first
    from unnest(array[-1, 0, 1]) as priority,
        lateral (
            select s.run_at as first from leaseq.scheduled as s
            where s.queue = listed.name and s.priority = priority
            order by s.run_at
            limit 1
        ) as p
    where p.first < clock_timestamp()
) as due on true
