-- Record the task types that the app of a worker can run, at its start. The API and the command
-- line check payloads against them, and complete submissions with their defaults. A known version
-- keeps the time at which it was first seen. Without a worker (null) it belongs to no worker.
-- `task_types` is written for processes of an older version of leaseq, which read it. Zero rows:
-- every version was known.
with sent as (
    select *
    from unnest(
        %(types)s::text[], %(versions)s::text[], %(queues)s::text[], %(shapes)s::json[], %(schemas)s::json[],
        %(max_attempts)s::integer[], %(timeouts)s::double precision[], %(retentions)s::double precision[],
        %(encoded)s::boolean[], %(redacts)s::json[], %(limits)s::text[], %(limit_keys)s::text[], %(unique_rules)s::text[],
        %(unique_keys)s::text[]
    ) as t (
        type, version, queue, shape, payload_schema, max_attempts, timeout_seconds, retention_seconds, encoded, redact,
        limit_name, limit_key, unique_rule, unique_key
    )
), told as (
    insert into leaseq.task_types (type, queue, payload_schema, max_attempts, timeout_seconds)
    select type, queue, payload_schema, max_attempts, timeout_seconds from sent order by type
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
), mine as (
    insert into leaseq.worker_types (worker_id, type, version)
    select %(worker_id)s::text, type, version from sent where %(worker_id)s::text is not null order by type
    on conflict (worker_id, type) do update set version = excluded.version
), outlived as (
    -- A closed worker says when its version was last in use. This worker runs the same version, and will close later.
    select u.worker_id, u.type from leaseq.worker_types as u
    join sent on sent.type = u.type and sent.version = u.version
    join leaseq.workers as w on w.id = u.worker_id
    where w.closed_at is not null and %(worker_id)s::text is not null
    for update of u skip locked
), forgotten as (
    delete from leaseq.worker_types as u using outlived as o where u.worker_id = o.worker_id and u.type = o.type
)
insert into leaseq.type_versions (
    type, version, queue, shape, max_attempts, timeout_seconds, retention_seconds, encoded, redact, limit_name, limit_key, unique_rule, unique_key
)
select
    type, version, queue, shape, max_attempts, timeout_seconds, retention_seconds, encoded, redact, limit_name, limit_key, unique_rule, unique_key
from sent
order by type, version
on conflict (type, version) do nothing
returning type
