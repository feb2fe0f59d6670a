-- Set the counts of statements to zero.
select pg_stat_statements_reset()
