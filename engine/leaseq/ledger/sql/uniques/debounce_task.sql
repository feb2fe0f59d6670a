-- debounce: SCHEDULED -> SCHEDULED, later, with the newest payload. The row in `scheduled` is locked
-- first and the task second, as promote does, so either this or the promotion comes first as a whole.
-- The time is put off up to `longest` seconds after the first submission. Zero rows: the task that had
-- the key has begun, has ended or waits for a permit, or no task has the key; look again. It waits for a
-- transaction that holds the row as long as `patience` says, and then fails with 55P03.
with patience as materialized (
    select set_config('lock_timeout', coalesce(%(patience)s::text, current_setting('lock_timeout')), true)
), held as materialized (
    select s.task_id, u.first_at
    from patience
    cross join leaseq.uniques as u
    join leaseq.scheduled as s on s.task_id = u.task_id
    where u.tenant = %(tenant)s::text and u.type = %(type)s::text and u.hold = 'debounce' and u.key = %(key)s::text
    for update of s
), moved as (
    update leaseq.tasks as t
    set payload = %(payload)s::text::json, headers = %(headers)s::text::json,
        run_at = least(
            clock_timestamp() + make_interval(secs => %(delay)s::float8), held.first_at + make_interval(secs => %(longest)s::float8)
        )
    from held
    where t.id = held.task_id and t.state = 'SCHEDULED' and t.attempt = 0
    returning t.id, t.created_at, t.run_at, t.queue, t.priority
), placed as (
    update leaseq.scheduled as s set run_at = m.run_at from moved as m where s.task_id = m.id
)
select m.id::text as task_id, m.created_at, m.run_at, m.queue, m.priority from moved as m
