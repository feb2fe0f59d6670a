-- One migrator at a time; the lock ends with the transaction, so a killed migrator leaves nothing
-- behind.
select pg_advisory_xact_lock(7822417320451)
