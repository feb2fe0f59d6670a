-- The calls of all statements since the reset, without those of the benchmark. One row.
select coalesce(sum(calls), 0)::bigint as calls
from pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database()) and query not like '%%pg_stat_statements%%'
