-- The newest notices about one task, newest first. Zero rows: there is none.
select
    id as notice_id, at, name, level, role, host, pid, queue, task_id::text, worker_id, fields::text, count
from leaseq.notices
where task_id = %(task_id)s
order by id desc
limit %(limit)s
