-- What has expired is found by the time at which it does. The index before it told in which blocks of the table such keys may be:
-- in all, once the room of pruned keys is used by new ones, so that each batch of the pruning read the whole table. Entries of
-- this one are added at its right end, where they cost next to nothing (docs/performance.md).
-- Submissions wait while it is built. Who has many millions of keys builds it before, by this name, `concurrently`.
-- One that was not finished is built again.
do $$
begin
    if exists (
        select from pg_index where indexrelid = to_regclass('leaseq.idempotency_keys_expiry') and not indisvalid
    ) then
        drop index leaseq.idempotency_keys_expiry;
    end if;
end
$$;
create index if not exists idempotency_keys_expiry on leaseq.idempotency_keys (expires_at);
drop index leaseq.idempotency_keys_expires_at;
