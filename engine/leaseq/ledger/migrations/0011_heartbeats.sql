-- Heartbeats have a table of their own (docs/decisions/0024-heartbeats-apart.md). While a long transaction sees every version of a row
-- that changes all the time, whatever looks for that row by its key goes through all of them. Here the time is part of the key: the
-- newest version is the last one of its worker in the index, and is found without the others.
-- One row for each worker that a process of this version beats for. Processes of an older version write `workers.last_seen`, so the
-- later of both counts.
create table leaseq.heartbeats (
    worker_id text not null,
    seen_at timestamptz not null default now(),
    primary key (worker_id, seen_at)
);

-- When a worker was last heard of. Volatile, and so by a snapshot of its own: a closing that has waited for the lock of a heartbeat sees
-- that heartbeat.
create function leaseq.last_seen(worker text) returns timestamptz
language sql volatile set search_path = pg_catalog, pg_temp as $$
    select greatest(w.last_seen, (
        select h.seen_at from leaseq.heartbeats as h where h.worker_id = w.id order by h.seen_at desc limit 1
    ))
    from leaseq.workers as w where w.id = worker
$$;
revoke all on function leaseq.last_seen(text) from public;
