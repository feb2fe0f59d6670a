-- Read one schedule, and the time. One row always; without a name there is no such schedule.
select
    s.tenant, s.name, s.cron, s.zone as tz, s.every_seconds, s.anchor_at, s.start_at, s.end_at, s.type, s.queue, s.payload::text,
    s.headers::text, s.labels::text, s.priority, s.max_attempts, s.timeout_seconds, s.limit_name, s.concurrency_key,
    s.catch_up, s.max_catch_up, s.overlap, s.jitter_seconds, s.source, s.revision::text, s.created_at, s.changed_at, s.paused_at, s.paused_by, s.next_at, s.due_at, s.last_at,
    s.last_task_id::text, s.fired, s.missed, s.skipped, s.run_ats, s.run_tasks::text[], now.now
from (select now() as now) as now
left join leaseq.schedules as s on s.tenant = %(tenant)s and s.name = %(name)s
