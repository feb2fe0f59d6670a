-- The tasks that one worker runs.
select id::text from leaseq.tasks where worker_id = %(worker_id)s and state = 'PROCESSING'
