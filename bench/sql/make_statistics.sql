-- The counts of blocks by statement. Needs shared_preload_libraries = pg_stat_statements.
create extension if not exists pg_stat_statements
