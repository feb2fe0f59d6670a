-- Create a schedule, or replace the definition of one that is still as it was read: of this revision
-- and this next time. Zero rows: it is not, or one was created meanwhile. It stays paused, and keeps
-- its counts and its last runs.
insert into leaseq.schedules as s (
    tenant, name, cron, zone, every_seconds, anchor_at, start_at, end_at, type, queue, payload, headers, labels, priority,
    max_attempts, timeout_seconds, limit_name, concurrency_key, catch_up, max_catch_up, overlap, jitter_seconds, source, next_at, due_at
)
values (
    %(tenant)s, %(name)s, %(cron)s, %(zone)s, %(every_seconds)s, %(anchor_at)s, %(start_at)s, %(end_at)s, %(type)s, %(queue)s,
    %(payload)s::text::json, %(headers)s::text::json, %(labels)s::text::jsonb, %(priority)s, %(max_attempts)s, %(timeout_seconds)s,
    %(limit_name)s, %(concurrency_key)s,
    %(catch_up)s, %(max_catch_up)s, %(overlap)s, %(jitter_seconds)s, %(source)s, %(next_at)s, %(due_at)s
)
on conflict (tenant, name) do update
set
    cron = excluded.cron, zone = excluded.zone, every_seconds = excluded.every_seconds, anchor_at = excluded.anchor_at,
    start_at = excluded.start_at, end_at = excluded.end_at, type = excluded.type, queue = excluded.queue, payload = excluded.payload,
    headers = excluded.headers, labels = excluded.labels, priority = excluded.priority, max_attempts = excluded.max_attempts,
    timeout_seconds = excluded.timeout_seconds, limit_name = excluded.limit_name,
    concurrency_key = excluded.concurrency_key, catch_up = excluded.catch_up, max_catch_up = excluded.max_catch_up,
    overlap = excluded.overlap, jitter_seconds = excluded.jitter_seconds, source = excluded.source, next_at = excluded.next_at,
    due_at = excluded.due_at, revision = gen_random_uuid(), changed_at = now()
where s.revision = %(seen_revision)s::uuid and s.next_at is not distinct from %(seen_next)s::timestamptz
returning name
