-- Schedules of one kind, of a daily time, without processes that declare them. They are due `seconds` from now.
insert into leaseq.schedules (
    tenant, name, cron, zone, type, queue, payload, priority, max_attempts, timeout_seconds, catch_up, max_catch_up, overlap,
    jitter_seconds, source, next_at, due_at
)
select
    'default', 's' || n, '0 6 * * *', 'Europe/Zurich', 'nothing', 'default', '{}', 0, 5, 30, 'once', 10, 'allow', 0, 'api',
    now() + make_interval(secs => %(seconds)s), now() + make_interval(secs => %(seconds)s)
from generate_series(1, %(count)s) as n
