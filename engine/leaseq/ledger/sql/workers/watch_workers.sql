-- List the workers that a reaper watches: the open ones, and those closed a moment ago, whose
-- recovery may be unfinished. An open worker that was seen within a lease comes with its home queue
-- alone, the first one: its lease there says whether it lives. Zero rows: there are none.
select
    id,
    case when closed_at is null and not stale then queues[1:1] else queues end as queues,
    closed_at is not null as closed,
    stale
from (
    select w.id, w.queues, w.closed_at,
        w.closed_at is null and greatest(w.last_seen, beat.at) < now() - make_interval(secs => %(stale_after)s) as stale
    from leaseq.workers as w
    left join lateral (
        select h.seen_at as at from leaseq.heartbeats as h
        where h.worker_id = w.id and w.closed_at is null
        order by h.seen_at desc
        limit 1
    ) as beat on true
    where w.closed_at is null or w.closed_at > now() - make_interval(secs => %(closed_within)s)
) as w
