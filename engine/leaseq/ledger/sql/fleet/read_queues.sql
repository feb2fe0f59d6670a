-- Read queues with everything that Postgres knows of them at one moment: whether each is paused, the
-- actor, the reason and the time of that, how many open workers serve it, and for how many seconds its first task
-- has been due that is still SCHEDULED (null: it has none that is due). At most %(limit)s queues:
-- paused ones first, then those that most workers serve. `silent` and `open` count the open workers
-- that were not seen for %(lease_seconds)s seconds and all of them, and `now` is the time; they are
-- the same in each row. Always one row at least: its name is null where no queue is known.
with serving as materialized (
    select w.queues, leaseq.last_seen(w.id) < clock_timestamp() - make_interval(secs => %(lease_seconds)s) as silent
    from leaseq.workers as w
    where w.closed_at is null
), served as (
    select name, count(*) as workers
    from serving, unnest(serving.queues) as name
    group by name
), listed as (
    select
        q.name, q.paused, coalesce(served.workers, 0)::integer as workers,
        case when q.paused then q.paused_by end as paused_by,
        case when q.paused then q.paused_reason end as paused_reason,
        case when q.paused then q.paused_at end as paused_at
    from leaseq.queues as q
    left join served on served.name = q.name
    order by q.paused desc, served.workers desc nulls last, q.name
    limit %(limit)s
)
select
    clock_timestamp() as now, counted.open, counted.silent,
    listed.name, listed.paused, listed.paused_by, listed.paused_reason, listed.paused_at, listed.workers,
    extract(epoch from clock_timestamp() - due.first)::float8 as overdue_seconds
from (
    select count(*)::integer as open, (count(*) filter (where silent))::integer as silent from serving
) as counted
left join listed on true
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
