-- Delete these idempotency keys where their retention is over, so that they can stand for a new task. Zero rows: none of them
-- is taken and expired (it was pruned meanwhile, or belongs to somebody else by now).
delete from leaseq.idempotency_keys as k
using unnest(%(tenants)s::text[], %(keys)s::text[]) as wanted (tenant, key)
where k.tenant = wanted.tenant and k.key = wanted.key and k.expires_at <= now()
returning k.key
