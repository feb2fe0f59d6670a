-- What has expired is found by the time at which it does. The index before it told in which blocks of the table such keys may be:
-- in all, once the room of pruned keys is used by new ones, so that each batch of the pruning read the whole table. Entries of
-- this one are added at its right end, where they cost next to nothing (docs/performance.md).
drop index leaseq.idempotency_keys_expires_at;
create index idempotency_keys_expires_at on leaseq.idempotency_keys (expires_at);
