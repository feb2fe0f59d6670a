-- Read schedules by tenant and name, behind a position. Parameters: the tenant (null: every one).
select
    s.tenant, s.name, s.cron, s.zone as tz, s.every_seconds, s.anchor_at, s.start_at, s.end_at, s.type, s.queue, '{}' as payload,
    s.headers::text, s.labels::text, s.priority, s.max_attempts, s.timeout_seconds, s.limit_name, s.concurrency_key,
    s.catch_up, s.max_catch_up, s.overlap, s.jitter_seconds, s.source, s.revision::text, s.created_at, s.changed_at, s.paused_at, s.paused_by, s.next_at, s.due_at, s.last_at,
    s.last_task_id::text, s.fired, s.missed, s.skipped, s.run_ats, s.run_tasks::text[], now() as now
from leaseq.schedules as s
where (s.tenant, s.name) > (%(after_tenant)s, %(after_name)s) and (%(tenant)s::text is null or s.tenant = %(tenant)s)
order by s.tenant, s.name
limit %(limit)s
