-- Let idempotency keys stand for tasks that exist: those that submissions with these keys were answered
-- with, so that a repeated request gets the same answer. Zero rows for a key: it exists already, or the
-- task does not exist any more; find_keys.sql tells which. Keys are inserted in order, as submit_tasks.sql
-- does.
insert into leaseq.idempotency_keys as k (tenant, key, fingerprint, task_id, queue, expires_at)
select s.tenant, s.key, s.fingerprint, t.id, t.queue, now() + make_interval(secs => %(retention)s)
from unnest((select %(tenants)s::text[]), %(keys)s::text[], %(fingerprints)s::bytea[], %(tasks)s::uuid[]) as s (tenant, key, fingerprint, task_id)
join leaseq.tasks as t on t.id = s.task_id
order by s.tenant, s.key
on conflict (tenant, key) do nothing
returning k.key
