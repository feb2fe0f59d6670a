-- The incarnations that a reaper watches: the open ones, and those closed a moment ago, whose reaping may be unfinished.
-- Of an open one that was heard of within a lease only its home queue comes, the first one: its lease there says whether it lives.
-- Zero rows: there are none.
select
    id,
    case when closed_at is null and not stale then queues[1:1] else queues end as queues,
    closed_at is not null as closed,
    stale
from (
    select id, queues, closed_at,
        closed_at is null and last_seen < now() - make_interval(secs => %(stale_after)s) as stale
    from leaseq.workers
    where closed_at is null or closed_at > now() - make_interval(secs => %(closed_within)s)
) as w
