-- Undo the transaction of an attempt; one message. Works in a failed transaction too. Returns the
-- identity of the transaction. Fails with 3B001 where the handler has ended the transaction that
-- begin_attempt.sql opened and is in another one now.
rollback to savepoint leaseq_attempt;
select pg_catalog.transaction_timestamp()::text;
rollback
