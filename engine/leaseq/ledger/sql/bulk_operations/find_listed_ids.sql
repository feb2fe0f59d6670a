-- The next ids of the list of a bulk operation, in order. Zero rows: there are no more.
select listed.task_id::text
from (
    select unnest(ids) as task_id from leaseq.bulk_operations where id = %(id)s
) as listed
where listed.task_id > %(position)s::uuid
order by listed.task_id
limit %(limit)s
