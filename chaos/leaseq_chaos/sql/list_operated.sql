-- The tasks that the operator erased or whose keys it freed, with the number of columns that have
-- content, the number of attempts, and the fingerprint of a key that stands for the task.
select t.id::text, t.state, t.erased_at is not null, t.key_freed_at is not null,
    num_nonnulls(t.payload, t.headers, t.result, t.error, t.progress),
    (select count(*) from leaseq.attempts as a where a.task_id = t.id),
    (select max(k.fingerprint) from leaseq.idempotency_keys as k where k.task_id = t.id)
from leaseq.tasks as t where t.id = any(%(ids)s::uuid[]) order by t.id
