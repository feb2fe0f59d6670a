-- What a worker's app can run, written at its boot: the API validates payloads against it, and whoever submits takes from it what
-- a submission leaves open. Zero rows: nothing new.
insert into leaseq.task_types (type, queue, payload_schema, max_attempts, timeout_seconds)
select *
from unnest(
    %(types)s::text[], %(queues)s::text[], %(schemas)s::json[], %(max_attempts)s::integer[], %(timeouts)s::double precision[]
) as t (type, queue, payload_schema, max_attempts, timeout_seconds)
order by 1
on conflict (type) do update
set
    queue = excluded.queue,
    payload_schema = excluded.payload_schema,
    max_attempts = excluded.max_attempts,
    timeout_seconds = excluded.timeout_seconds,
    updated_at = now()
where leaseq.task_types.queue <> excluded.queue
    or leaseq.task_types.payload_schema::text <> excluded.payload_schema::text
    or leaseq.task_types.max_attempts is distinct from excluded.max_attempts
    or leaseq.task_types.timeout_seconds is distinct from excluded.timeout_seconds
returning type
