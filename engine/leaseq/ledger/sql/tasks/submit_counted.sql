-- submit: none -> PENDING or SCHEDULED, as submit_tasks.sql does, of tenants with a quota on unfinished
-- tasks. These parts are added to it, before its last line (statements.py), so that no second file lists
-- the options of a submission. They list and count each task that is created for one of these tenants,
-- so a task and its row are inserted by one statement, hence in one transaction. A submission whose key
-- or id exists does not come back, and is not listed.
listed as (
    insert into leaseq.unfinished_tasks (tenant, queue, task_id)
    select tenant, queue, id from created where tenant = any(%(counted)s::text[])
    returning tenant, queue
), counted as (
    insert into leaseq.unfinished_counts (tenant, queue, tasks)
    select tenant, queue, count(*) from listed group by tenant, queue
)
