-- Resume a schedule that is still as it was read, with its next time from now on. Zero rows: it is
-- not.
update leaseq.schedules
set
    paused_at = null, paused_by = null, next_at = %(next_at)s, due_at = %(due_at)s, missed = missed + %(missed)s,
    revision = gen_random_uuid()
where tenant = %(tenant)s and name = %(name)s and revision = %(seen_revision)s::uuid
returning name
