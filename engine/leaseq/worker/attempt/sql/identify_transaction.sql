-- Return the identity of the current transaction: no two transactions of one session begin at the
-- same microsecond, because each begins with a separate message.
select pg_catalog.transaction_timestamp()::text
