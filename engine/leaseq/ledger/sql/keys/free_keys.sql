-- free: delete the idempotency keys of tasks that ended without success, so that they can stand for
-- new tasks. No transition. The tasks keep the text of their keys, and show when they were freed.
-- Zero rows for an id: no such task in this tenant (null: in any), it has no key, has not ended or
-- has succeeded, its key was freed before, or the key does not stand for it any more (it had
-- expired). The task is locked first and its key second, as prune and erase do.
-- The array of ids stands in a subquery, for the reason in submit_tasks.sql.
with found as materialized (
    select id, tenant, idempotency_key from leaseq.tasks
    where id = any((select %(ids)s::uuid[])::uuid[])
        and (%(tenant)s::text is null or tenant = %(tenant)s::text)
        and state in ('FAILED', 'CANCELLED') and key_freed_at is null and idempotency_key is not null
    order by id
    for update
), freed as (
    delete from leaseq.idempotency_keys as k
    using found
    where k.tenant = found.tenant and k.key = found.idempotency_key and k.task_id = found.id
    returning k.task_id
)
update leaseq.tasks as t set key_freed_at = clock_timestamp()
from freed
where t.id = freed.task_id
returning t.id::text
