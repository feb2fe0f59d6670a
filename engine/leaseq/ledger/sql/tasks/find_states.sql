-- Read the states of these tasks, in any tenant. Waiters poll it. Zero rows for an id: it was
-- pruned.
-- The array of ids stands in a subquery, for the reason in submit_tasks.sql.
select id::text, state from leaseq.tasks where id = any((select %(ids)s::uuid[])::uuid[])
