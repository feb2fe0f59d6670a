-- Make the handler's transaction ready for the settle; the first part of one message
-- (worker/attempt/transaction.py adds session.sql, plans.sql and identify_transaction.sql). Fails
-- with 3B001 where the handler has ended the transaction. Deferred constraints of the user's tables
-- are checked first, under the settings of the handler. RESET ALL undoes every setting that could
-- change what the settle does or how durably it commits, whether the handler used SET or SET LOCAL.
-- The role comes back first, because the rights to the rest depend on it.
set constraints all immediate;
release savepoint leaseq_attempt;
set local session authorization default;
reset all
