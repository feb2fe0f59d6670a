-- Begin to keep the order of commits, from now on. Its name is unique in the server of a run.
select pg_create_logical_replication_slot('leaseq_chaos', 'test_decoding')
