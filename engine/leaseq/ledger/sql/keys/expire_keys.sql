-- Delete these idempotency keys where their retention is over and their task has ended, so that
-- they can stand for a new task. Zero rows: none of them is taken and expired (it was pruned
-- meanwhile, or stands for a newer task).
delete from leaseq.idempotency_keys as k
using unnest(%(tenants)s::text[], %(keys)s::text[]) as wanted (tenant, key)
where k.tenant = wanted.tenant and k.key = wanted.key and k.expires_at <= now()
    and not exists (select from leaseq.tasks as t where t.id = k.task_id and t.state in ('PENDING', 'SCHEDULED', 'PROCESSING'))
returning k.key
