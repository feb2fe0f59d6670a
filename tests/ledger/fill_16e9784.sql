-- Fill a ledger of 16e9784 as a year of use leaves it: tasks in every state, with keys, attempts, workers, types and queues.
-- Ids are a prefix for the state and a number. Tasks that wait are of the type `note`, which a worker of the test runs.
insert into leaseq.queues (name, paused) values ('default', false), ('held', true), ('forgotten', false);

insert into leaseq.workers (id, host, pid, queues, version, closed_at, close_reason)
select 'closed-' || n, 'host-' || n % 7, n, '{default}', '0.1.0', now(), 'drained' from generate_series(1, 500) as n;

insert into leaseq.task_types (type, queue, payload_schema, max_attempts, timeout_seconds)
select 'old-' || n, 'default', '{"type": "object"}', 3, 30 from generate_series(1, 50) as n;

insert into leaseq.tasks
    (id, queue, type, payload, idempotency_key, state, attempt, retry_count, crash_count, loss_count, max_attempts, timeout_seconds,
     created_at, run_at, started_at, finished_at, cancel_requested_at, worker_id, result, error)
select
    ('01900000-0000-7000-800' || kind.digit || '-' || lpad(n::text, 12, '0'))::uuid,
    case when kind.state = 'PENDING' and n % 10 = 0 then 'held' else 'default' end,
    case when kind.state in ('SUCCESS', 'FAILED', 'CANCELLED') then 'old-' || n % 50 else 'note' end,
    json_build_object('n', n), case when n % 2 = 0 then kind.state || n end, kind.state,
    case when kind.state in ('PENDING', 'SCHEDULED') then n % 3 else 1 + n % 3 end, n % 3, n % 2, n % 2, 5, 60,
    now() - interval '1 day', case when kind.state = 'SCHEDULED' then now() + interval '1 day' else now() end,
    case when kind.state not in ('PENDING', 'SCHEDULED') then now() - interval '1 hour' end,
    case when kind.state in ('SUCCESS', 'FAILED', 'CANCELLED') then now() - interval '1 minute' end,
    case when kind.state = 'CANCELLED' then now() - interval '2 minutes' end,
    case when kind.state = 'PROCESSING' then 'closed-1' end,
    case when kind.state = 'SUCCESS' then json_build_object('sum', n) end,
    case when kind.state = 'FAILED' then json_build_object('code', 'error', 'message', 'no ' || n) end
from (
    values ('PENDING', 1, 300), ('SCHEDULED', 2, 2000), ('PROCESSING', 3, 50), ('SUCCESS', 4, 20000), ('FAILED', 5, 2000),
        ('CANCELLED', 6, 2000)
) as kind (state, digit, count)
cross join lateral generate_series(1, kind.count) as n;

insert into leaseq.scheduled (task_id, run_at, queue, priority)
select id, run_at, case when attempt = 0 then '' else queue end, priority from leaseq.tasks where state = 'SCHEDULED';

insert into leaseq.idempotency_keys (tenant, key, fingerprint, task_id, queue, created_at, expires_at)
select tenant, idempotency_key, sha256(idempotency_key::bytea), id, queue, created_at, now() + interval '6 days'
from leaseq.tasks where idempotency_key is not null;

insert into leaseq.attempts (task_id, attempt, outcome, worker_id, started_at, finished_at, next_state, error)
select id, attempt, 'errored', 'closed-2', now() - interval '1 hour', now() - interval '59 minutes', 'FAILED', error
from leaseq.tasks where state = 'FAILED'
