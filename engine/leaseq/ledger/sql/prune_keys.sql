-- Delete idempotency keys past their retention, a batch at a time, those first that expired first. A batch begins where the last
-- one ended, not among the dead entries that it left in the index. One row always, never zero rows: when the last of them expired
-- (null: none had), and how many were deleted.
with old as (
    select tenant, key from leaseq.idempotency_keys
    where expires_at >= coalesce(%(since)s::timestamptz, '-infinity') and expires_at < now()
    order by expires_at
    limit %(limit)s
    for update skip locked
), gone as (
    delete from leaseq.idempotency_keys k using old
    where k.tenant = old.tenant and k.key = old.key
    returning k.expires_at
)
select max(expires_at), count(*) from gone
