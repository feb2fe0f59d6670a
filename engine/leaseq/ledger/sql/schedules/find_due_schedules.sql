-- Read the schedules that are due, the longest due first, and the time by which they are. No lock.
-- `missing_limit` is the limit of its tasks where that does not exist.
select
    tenant, name, cron, zone, every_seconds, anchor_at, start_at, end_at, catch_up, max_catch_up, overlap, jitter_seconds,
    revision::text, next_at, due_at, now() as now,
    case
        when limit_name is not null and not exists (select from leaseq.limits as l where l.name = limit_name offset 0) then limit_name
    end as missing_limit
from leaseq.schedules
where paused_at is null and due_at <= now()
order by due_at
limit %(limit)s
