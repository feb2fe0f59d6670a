-- Find the sessions that have locked tables or indexes of leaseq, for a migration that waits:
-- process id, role, application, and for how many seconds their transactions have been open (null:
-- this role may not see it), the oldest first. Zero rows: they have released their locks.
select a.pid, a.usename::text, a.application_name, extract(epoch from clock_timestamp() - a.xact_start)::integer
from pg_stat_activity as a
where a.pid <> pg_backend_pid() and exists (
    select from pg_locks as l
    join pg_class as c on c.oid = l.relation
    where l.pid = a.pid and l.granted and l.database = (select oid from pg_database where datname = current_database())
        and c.relnamespace = to_regnamespace('leaseq')
)
order by a.xact_start
limit 3
