-- Read the schedules that are due, the longest due first, and the time by which they are. No lock.
select
    tenant, name, cron, zone, every_seconds, anchor_at, start_at, end_at, catch_up, max_catch_up, overlap, jitter_seconds,
    revision::text, next_at, due_at, now() as now
from leaseq.schedules
where paused_at is null and due_at <= now()
order by due_at
limit %(limit)s
