-- The operation that has this id of a request, for this action and target. Zero rows: there is none.
select id::text, outcome, code
from leaseq.operations
where request_id = %(request_id)s::uuid and action = %(action)s and target = %(target)s
