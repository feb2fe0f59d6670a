-- The order of commits is no longer kept.
select pg_drop_replication_slot('leaseq_chaos')
