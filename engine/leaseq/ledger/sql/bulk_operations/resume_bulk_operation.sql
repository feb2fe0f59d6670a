-- Let a bulk operation that was stopped run again, from where it was. Zero rows: there is no such
-- operation for this tenant (null: any), or it is not stopped.
update leaseq.bulk_operations
set state = 'running', paced_at = clock_timestamp()
where id = %(id)s and (%(tenant)s::text is null or tenant = %(tenant)s) and state = 'stopped'
returning id::text as operation_id
