-- The statements that have touched the most blocks in one call since the reset, on average over their
-- calls: blocks, calls and text. Those of the benchmark itself are left out.
select
    (shared_blks_hit + shared_blks_read)::float8 / calls as blocks, calls,
    left(regexp_replace(regexp_replace(query, '--[^\n]*', '', 'g'), '\s+', ' ', 'g'), 120) as text
from pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database())
    and query not like '%%pg_stat_statements%%' and query not like 'delete from leaseq.census%%'
order by 1 desc
limit 5
