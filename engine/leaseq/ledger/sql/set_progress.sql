-- Progress of a running attempt, under its fence. Zero rows: the attempt was taken away.
update leaseq.tasks set progress = %(progress)s::json
where id = %(task_id)s and state = 'PROCESSING' and attempt = %(attempt)s and worker_id = %(worker_id)s
returning id::text
