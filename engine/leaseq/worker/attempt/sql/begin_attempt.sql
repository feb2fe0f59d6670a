-- Open the transaction of an attempt; one message, one round trip. Returns the identity of this
-- transaction. The savepoint proves later that the transaction is still this one: COMMIT, ROLLBACK,
-- their CHAIN forms and PREPARE TRANSACTION all destroy it. Its release also undoes a SET
-- TRANSACTION READ ONLY of the handler.
begin;
savepoint leaseq_attempt;
select pg_catalog.transaction_timestamp()::text
