-- Delete queues that no task names. A queue stays if it was paused or given a limit, or a worker began
-- to serve it, since it was looked at: zero rows for it. A submission that names one of these at this moment
-- still finds the name, and leaves a task without it: the next scan inserts the name
-- (unused_queues.py).
delete from leaseq.queues as q
where q.name = any(%(names)s::text[]) and not q.paused and q.name not in (
    select unnest(w.queues) from leaseq.workers as w where w.closed_at is null
    union all
    select l.queue from leaseq.queue_limits as l where l.limit_id is not null
)
returning q.name
