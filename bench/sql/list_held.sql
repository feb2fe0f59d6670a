-- The tasks that one incarnation runs.
select id::text from leaseq.tasks where worker_id = %(worker_id)s and state = 'PROCESSING'
