-- One chunk of the reconciler's walk along the primary key: tasks that wait without having moved for a while
-- (stranded, if dispatch does not know them), and attempts whose worker is closed or unknown (orphans).
-- Returns one row with only `last_id` when the chunk holds neither; zero rows when the walk is at its end.
with chunk as materialized (
    select id, queue, state, attempt, worker_id, priority, run_at,
        retry_count, crash_count, loss_count, max_attempts
    from leaseq.tasks
    where id > %(cursor)s::uuid
    order by id
    limit %(limit)s
), found as (
    select chunk.* from chunk
    where (state = 'PENDING' and run_at < now() - make_interval(secs => %(quiet)s))
        or (state = 'PROCESSING' and not exists (
            select 1 from leaseq.workers w where w.id = chunk.worker_id and w.closed_at is null
        ))
)
select
    last.id::text as last_id, found.id::text, found.queue, found.state, found.attempt, found.worker_id, found.priority,
    found.retry_count, found.crash_count, found.loss_count, found.max_attempts
from (select id from chunk order by id desc limit 1) as last
left join found on true
