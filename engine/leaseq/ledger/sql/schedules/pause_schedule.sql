-- Pause a schedule. Zero rows: there is no such schedule. One that is paused keeps the time and the
-- name of its pause.
update leaseq.schedules
set
    paused_at = coalesce(paused_at, now()), paused_by = case when paused_at is null then %(by)s else paused_by end,
    revision = gen_random_uuid()
where tenant = %(tenant)s and name = %(name)s
returning name
