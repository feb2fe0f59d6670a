-- The statements that were called most often since the reset: calls and the beginning of their text.
select calls, left(regexp_replace(regexp_replace(query, '--[^\n]*', '', 'g'), '\s+', ' ', 'g'), 90) as text
from pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database()) and query not like '%%pg_stat_statements%%'
order by calls desc
limit %(limit)s
