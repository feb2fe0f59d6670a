-- The versions of every registered task type, the newest of a type first. A version counts while
-- one of its workers is open; where no worker of a type is open, the version counts whose worker
-- was the last to close. The first time that a version was seen orders them: a worker of an older
-- release that starts again does not make its version the newest. A type that only workers of an
-- older version of leaseq have registered has no shape.
with used as (
    select
        v.type, v.version, v.queue, v.shape, v.max_attempts, v.timeout_seconds, v.retention_seconds, v.encoded,
        v.redact, v.limit_name, v.limit_key, v.unique_rule, v.unique_key,
        v.first_seen_at,
        coalesce(bool_or(w.closed_at is null) filter (where w.id is not null), false) as is_open,
        max(w.closed_at) as closed_at
    from leaseq.type_versions as v
    left join leaseq.worker_types as u on u.type = v.type and u.version = v.version
    left join leaseq.workers as w on w.id = u.worker_id
    group by v.type, v.version
), ranked as (
    select
        *,
        row_number() over (
            partition by type
            order by is_open desc, case when not is_open then closed_at end desc nulls last, first_seen_at desc, version
        ) as rank
    from used
)
select type, queue, shape::text, max_attempts, timeout_seconds, null as payload_schema, retention_seconds, encoded, redact::text, limit_name,
    limit_key, unique_rule, unique_key, rank
from ranked
where is_open or rank = 1
union all
select t.type, t.queue, null, t.max_attempts, t.timeout_seconds, t.payload_schema::text, null, false, null, null, null, null, null, 1
from leaseq.task_types as t
where not exists (select from leaseq.type_versions as v where v.type = t.type)
order by type, rank
