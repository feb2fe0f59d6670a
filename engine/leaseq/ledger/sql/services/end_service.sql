-- Record that a service has stopped in an orderly way. Returns no rows.
update leaseq.services set ended_at = clock_timestamp(), last_seen = clock_timestamp()
where id = %(id)s and ended_at is null
