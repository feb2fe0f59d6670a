-- Delete queues that no task names. One that was paused, or that a worker began to serve, since it
-- was looked at stays: zero rows for it. A submission that names one of these at this moment finds
-- the name still, and leaves a task without it: the next scan inserts it (unused_queues.py).
delete from leaseq.queues as q
where q.name = any(%(names)s::text[]) and not q.paused and q.name not in (
    select unnest(w.queues) from leaseq.workers as w where w.closed_at is null
)
returning q.name
