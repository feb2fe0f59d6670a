-- submit: none -> PENDING or SCHEDULED, as submit_tasks.sql does, of tenants with a quota on unfinished
-- tasks. This is the part by which the statement differs from it, and stands before its last line
-- (statements.py), so that no second file lists the options of a submission. It lists each task that is
-- created for one of these tenants, so a task and its row are inserted by one statement, hence in one
-- transaction.
insert into leaseq.unfinished_tasks (tenant, queue, task_id)
select sent.tenant, sent.queue, sent.id
from created
join sent on sent.id = created.id
where sent.tenant = any(%(counted)s::text[])
