-- Count the tasks by state. One row.
select
    count(*) filter (where state in ('SUCCESS', 'FAILED', 'CANCELLED')) as finished,
    count(*) filter (where state = 'PROCESSING') as running,
    count(*) as accepted
from leaseq.tasks
