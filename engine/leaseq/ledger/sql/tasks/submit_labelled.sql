-- submit: none -> PENDING or SCHEDULED, as submit_counted.sql does, of tasks with labels. This part is
-- added to it, before its last line (statements.py), so that no second file lists the options of a
-- submission. Where no tenant of the batch has a quota, `counted` is empty. A task and its labels are inserted by one statement, hence in one transaction. A
-- submission whose key or id exists does not come back, and its labels are not inserted.
-- The array of ids stands in a subquery, for the reason in submit_tasks.sql.
labelled as (
    insert into leaseq.labels (name, value, tenant, task_id)
    select l.name, l.value, c.tenant, c.id
    from unnest((select %(label_tasks)s::uuid[]), %(label_names)s::text[], %(label_values)s::text[]) as l (task_id, name, value)
    join created as c on c.id = l.task_id
)
