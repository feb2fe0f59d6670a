-- Delete rows of `scheduled` whose task is gone: an operator has deleted it, or it was cancelled
-- and pruned while such a row was left. promote_tasks.sql cannot tell such a row from one whose
-- task is locked, and leaves both. Zero rows: each of these rows has its task, or there is no such
-- row.
delete from leaseq.scheduled as s
using unnest(%(ids)s::uuid[]) as listed (task_id)
where s.task_id = listed.task_id and not exists (select from leaseq.tasks as t where t.id = listed.task_id)
returning s.task_id::text
