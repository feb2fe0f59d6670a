-- Stop a bulk operation. A step that is under way holds the row, so no step begins after this
-- statement. Zero rows: there is no such operation for this tenant (null: any), or it does not run.
update leaseq.bulk_operations
set state = 'stopped', touched_by = null
where id = %(id)s and (%(tenant)s::text is null or tenant = %(tenant)s) and state = 'running'
returning id::text as operation_id
