-- The states of these tasks, in any tenant: what waiters poll. Zero rows for an id: it was pruned.
select id::text, state from leaseq.tasks where id = any(%(ids)s::uuid[])
