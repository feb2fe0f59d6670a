-- Read schedules whose next time depends on the rules of a time zone and is to come, by tenant and
-- name, behind a position. `now` is the time after which the next one lies: not before the last
-- occurrence, also where the clock of this server was set back. No lock.
select
    tenant, name, cron, zone, every_seconds, anchor_at, start_at, end_at, catch_up, max_catch_up, overlap, jitter_seconds,
    revision::text, next_at, due_at, greatest(now(), run_ats[1]) as now, null::text as missing_limit
from leaseq.schedules
where (tenant, name) > (%(after_tenant)s, %(after_name)s) and cron is not null and zone <> 'UTC' and next_at > now()
order by tenant, name
limit %(limit)s
