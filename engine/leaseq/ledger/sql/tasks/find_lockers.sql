-- Find the sessions that have locked these tasks, for the log: process id, role, application,
-- state, and for how many seconds their transactions have been open. Reads the transaction that a
-- row names as its locker; a row that several share names none. Zero rows: no such session is
-- known.
select distinct a.pid, a.usename::text, a.application_name, a.state, extract(epoch from clock_timestamp() - a.xact_start)::integer
from (
    select t.xmax as xid from leaseq.tasks as t where t.id = any(%(ids)s::uuid[])
    union
    select s.xmax as xid from leaseq.scheduled as s where s.task_id = any(%(ids)s::uuid[])
) as locker
join pg_locks as l on l.locktype = 'transactionid' and l.transactionid = locker.xid and l.granted
join pg_stat_activity as a on a.pid = l.pid
