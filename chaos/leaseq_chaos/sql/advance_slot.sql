-- Advance the slot: commits up to this position (bytes since 0/0) have been read.
select pg_replication_slot_advance('leaseq_chaos', '0/0'::pg_lsn + %(lsn)s::numeric)
