-- End tasks whose deliveries were taken out of their lanes, as the workers that take them would.
update leaseq.tasks set state = 'CANCELLED', finished_at = now()
where id = any(%(task_ids)s::uuid[]) and state = 'PENDING'
