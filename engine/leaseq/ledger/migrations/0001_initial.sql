-- The ledger. Its shape follows two rules (docs/lifecycle.md, docs/decisions/0003-no-index-on-state.md):
--   * CHECK constraints make impossible rows impossible;
--   * `tasks` has no index that claim or settle would have to touch, so that their updates stay HOT.

create table leaseq.tasks (
    id uuid primary key,
    tenant text not null default 'default',
    queue text not null check (queue ~ '^[A-Za-z0-9_.-]{1,128}$'),
    type text not null check (type ~ '^[A-Za-z0-9_.-]{1,128}$'),
    payload json not null,
    headers json,
    idempotency_key text check (length(idempotency_key) between 1 and 255),
    state text not null
        check (state in ('PENDING', 'SCHEDULED', 'PROCESSING', 'SUCCESS', 'FAILED', 'CANCELLED')),
    priority smallint not null default 0 check (priority between -1 and 1),
    attempt integer not null default 0 check (attempt >= 0),
    retry_count integer not null default 0 check (retry_count >= 0),
    crash_count integer not null default 0 check (crash_count >= 0),
    loss_count integer not null default 0 check (loss_count >= 0),
    max_attempts integer not null check (max_attempts >= 1),
    timeout_seconds double precision not null check (timeout_seconds > 0),
    created_at timestamptz not null default now(),
    run_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz,
    cancel_requested_at timestamptz,
    worker_id text,
    result json,
    error json,
    progress json,
    constraint finished_exactly_when_terminal
        check ((finished_at is not null) = (state in ('SUCCESS', 'FAILED', 'CANCELLED'))),
    constraint worker_exactly_when_processing
        check ((worker_id is not null) = (state = 'PROCESSING')),
    constraint processing_has_an_attempt
        check (state <> 'PROCESSING' or (attempt >= 1 and started_at is not null)),
    constraint result_exactly_with_success
        check ((result is not null) = (state = 'SUCCESS')),
    constraint cancel_request_leaves_no_waiting_task
        check (cancel_requested_at is null or state not in ('PENDING', 'SCHEDULED'))
) with (fillfactor = 50);

-- What is due later, found by time without an index on `tasks`. A row exists exactly while its task is SCHEDULED.
create table leaseq.scheduled (
    task_id uuid primary key,
    run_at timestamptz not null
);
create index scheduled_run_at on leaseq.scheduled (run_at);

-- The ledger of keys. It outlives the task: `final_state` is what is left to say when the task has been pruned.
create table leaseq.idempotency_keys (
    tenant text not null,
    key text not null,
    fingerprint bytea not null,
    task_id uuid not null,
    queue text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    final_state text,
    primary key (tenant, key)
);
create index idempotency_keys_expires_at on leaseq.idempotency_keys using brin (expires_at);

-- One row for each attempt that did not end in SUCCESS.
create table leaseq.attempts (
    task_id uuid not null,
    attempt integer not null,
    outcome text not null check (outcome in ('errored', 'timed_out', 'cancelled', 'released', 'lost')),
    worker_id text not null,
    started_at timestamptz not null,
    finished_at timestamptz not null,
    next_state text not null,
    error json,
    primary key (task_id, attempt)
);

-- One row for each incarnation of a worker. `closed_at` is the ledger's word that nothing it does counts any more.
create table leaseq.workers (
    id text primary key,
    host text not null,
    pid integer not null,
    queues text[] not null,
    version text not null,
    started_at timestamptz not null default now(),
    last_seen timestamptz not null default now(),
    closed_at timestamptz,
    close_reason text
) with (fillfactor = 50);

create table leaseq.task_types (
    type text primary key,
    queue text not null,
    payload_schema json not null,
    max_attempts integer check (max_attempts >= 1),
    timeout_seconds double precision check (timeout_seconds > 0),
    updated_at timestamptz not null default now()
);

create table leaseq.queues (
    name text primary key check (name ~ '^[A-Za-z0-9_.-]{1,128}$'),
    paused boolean not null default false,
    created_at timestamptz not null default now()
);
