-- The sessions that handlers use. A reap used to find them by application_name, which a handler can change, and then a frozen worker
-- kept its row locks. `backend_start` tells a session from a later one with the same pid. Rows go with the row of their worker.
create table leaseq.sessions (
    worker_id text not null references leaseq.workers (id) on delete cascade,
    pid integer not null,
    backend_start timestamptz not null,
    primary key (worker_id, pid)
);
