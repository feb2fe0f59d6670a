-- Delete idempotency keys past their retention, a batch at a time, oldest first. Zero rows: nothing is left to prune.
with old as (
    select tenant, key from leaseq.idempotency_keys
    where expires_at < now()
    order by expires_at
    limit %(limit)s
    for update skip locked
)
delete from leaseq.idempotency_keys k using old
where k.tenant = old.tenant and k.key = old.key
returning k.key
