-- The size of each table of the ledger, with its indexes. Reads no table. Zero rows: there is no
-- schema.
select c.relname as name, pg_total_relation_size(c.oid)::float8 as bytes
from pg_class as c
where c.relnamespace = to_regnamespace('leaseq') and c.relkind = 'r'
order by c.relname
