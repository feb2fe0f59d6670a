-- How many transactions this database has ended so far. A statement outside of a transaction is
-- one. One row.
select xact_commit + xact_rollback from pg_stat_database where datname = current_database()
