-- Every tenant that is known, with its quotas.
select name, created_at, unfinished, unfinished_per_queue, payload_bytes_per_day from leaseq.tenants order by name
