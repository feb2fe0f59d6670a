-- What identifies the current transaction: no two transactions of one session begin at the same microsecond, because each begins
-- with a message of its own.
select pg_catalog.transaction_timestamp()::text
