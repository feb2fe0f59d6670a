-- Read the states of these tasks, in any tenant. Waiters poll it. Zero rows for an id: it was
-- pruned.
select id::text, state from leaseq.tasks where id = any(%(ids)s::uuid[])
