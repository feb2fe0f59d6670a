-- The operations on some tasks, with their outcomes.
select action, target, outcome from leaseq.operations where target = any(%(ids)s::text[]) order by id
