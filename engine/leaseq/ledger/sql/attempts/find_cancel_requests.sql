-- Find the running tasks among these that have a cancel request. Zero rows: none.
select id::text from leaseq.tasks
where id = any(%(ids)s::uuid[]) and cancel_requested_at is not null and state = 'PROCESSING'
