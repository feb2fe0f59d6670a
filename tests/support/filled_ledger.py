"""The statements that fill a ledger for the tests of plans."""

from __future__ import annotations

TASKS = 20_000
FILL = f"""
insert into leaseq.workers (id, host, pid, queues, version) values ('w', 'here', 1, '{{default}}', '0');
insert into leaseq.queues (name) values ('default');
insert into leaseq.tasks (id, queue, type, payload, state, max_attempts, timeout_seconds, idempotency_key,
    finished_at, result, attempt, started_at, worker_id)
select
    ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'default', 'add', '{{"n":1}}',
    case when n % 10 = 0 then 'SCHEDULED' when n % 10 = 1 then 'PROCESSING' when n % 2 = 0 then 'PENDING' else 'SUCCESS' end,
    5, 30, 'key-' || n,
    case when n % 2 = 1 and n % 10 <> 1 then now() end, case when n % 2 = 1 and n % 10 <> 1 then '1'::json end,
    1, now(), case when n % 10 = 1 then 'w' end
from generate_series(1, {TASKS}) as n;
insert into leaseq.scheduled select id, now() + interval '1 hour' * random(), queue, priority from leaseq.tasks;
insert into leaseq.idempotency_keys (tenant, key, fingerprint, task_id, queue, expires_at)
select 'default', idempotency_key, 'f', id, queue, now() + interval '7 days' from leaseq.tasks;
insert into leaseq.dead_letters (task_id, tenant, queue, type, failed_at, code)
select id, tenant, queue, type, now(), 'error' from leaseq.tasks;
analyze leaseq.dead_letters;
insert into leaseq.stats
select
    60, now() - make_interval(mins => n / 10), 'q' || n % 10, 't', 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, '{{1}}', '{{1}}'
from generate_series(1, {TASKS}) as n;
insert into leaseq.tallies
select now() - make_interval(secs => n), 'q', 't', 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, '{{1}}', '{{1}}'
from generate_series(1, {TASKS}) as n;
insert into leaseq.attempts (task_id, attempt, outcome, worker_id, started_at, finished_at, next_state, error)
select id, 1, 'errored', 'w', now(), now(), 'SCHEDULED', '{{"code":"error","message":"gone"}}' from leaseq.tasks;
insert into leaseq.uncounted_failures
select id, 1, tenant, queue, type, attempt || 'f', 'error', '', '', 'errored', 'w', now() from leaseq.tasks;
insert into leaseq.failures
select type, id::text, tenant, 'error', '', '', array[queue], '{{}}', '{{}}', array[id], '{{1}}',
    now() - interval '1 year' * random(), now() - interval '1 year' * random()
from leaseq.tasks;
insert into leaseq.failure_counts
select type, id::text, 60, date_trunc('hour', now()) - hour * interval '1 hour', tenant, 'errored', 1
from leaseq.tasks cross join generate_series(1, 5) as hour;
insert into leaseq.notices (at, name, level, role, host, pid, fields)
select now() - make_interval(secs => n), 'event.' || n % 50, 'info', 'worker', 'here', 1, '{{}}'
from generate_series(1, {TASKS}) as n;
analyze leaseq.notices;
analyze leaseq.attempts; analyze leaseq.uncounted_failures; analyze leaseq.failures; analyze leaseq.failure_counts;
analyze leaseq.tasks; analyze leaseq.scheduled; analyze leaseq.idempotency_keys; analyze leaseq.workers;
insert into leaseq.labels (name, value, tenant, task_id)
select 'account', (ascii(right(id::text, 1)) % 7)::text, 'default', id from leaseq.tasks
union all select 'env', 'live', 'default', id from leaseq.tasks;
insert into leaseq.uniques (tenant, type, hold, key, task_id)
select 'default', 'add', 'while_unfinished', idempotency_key, id from leaseq.tasks;
analyze leaseq.queues; analyze leaseq.attempts; analyze leaseq.labels;
analyze leaseq.queues; analyze leaseq.attempts; analyze leaseq.stats; analyze leaseq.tallies;
"""
# Without statistics, which come a minute later.
FIRST_FEW = "\n".join(
    line for line in FILL.replace(f"{TASKS}", "60").splitlines() if not line.startswith("analyze")
)
