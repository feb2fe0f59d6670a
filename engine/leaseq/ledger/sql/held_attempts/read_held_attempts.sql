-- Read the attempts among these that have not ended, with everything that their spans need. Zero
-- rows: they have all ended. No transition: settle_attempts.sql follows.
select
    t.id::text as task_id, t.attempt, t.worker_id, t.queue, t.type, t.headers::text as headers,
    t.started_at, clock_timestamp() as read_at
from unnest((select %(ids)s::uuid[]), %(attempts)s::integer[]) as held (id, attempt)
join leaseq.tasks as t on t.id = held.id
where t.attempt = held.attempt and t.state = 'PROCESSING'
