-- Every label, with the tenant of its row.
select task_id::text as task_id, tenant, name, value from leaseq.labels order by task_id, name
