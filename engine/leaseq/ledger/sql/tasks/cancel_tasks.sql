-- cancel: PENDING, SCHEDULED -> CANCELLED immediately; PROCESSING -> a request that its worker sees
-- and that settle honours. Zero rows for an id: no such task in this tenant (any: null), it has
-- ended already, it is not in `seen_state` at `seen_attempt` any more (null: any), it runs and
-- `running` is false, or it was submitted after `submitted_by` (null: any time). A scheduled
-- row that promote holds is left to promote, which locks that row first and the task second. Waiting
-- here in the other order would be a deadlock. The rows are locked in order of id first, so that two
-- batches over the same rows wait for each other instead of deadlocking.
with found as (
    select id from leaseq.tasks
    where id = any(%(ids)s::uuid[]) and (%(tenant)s::text is null or tenant = %(tenant)s) and state in ('PENDING', 'SCHEDULED', 'PROCESSING')
        and (%(seen_state)s::text is null or (state = %(seen_state)s::text and attempt = %(seen_attempt)s::integer))
        and (%(running)s or state <> 'PROCESSING') and (%(submitted_by)s::timestamptz is null or created_at <= %(submitted_by)s)
    order by id
    for update
), cancelled as (
    update leaseq.tasks as t
    set state = case when t.state = 'PROCESSING' then t.state else 'CANCELLED' end,
        finished_at = case when t.state = 'PROCESSING' then null else clock_timestamp() end,
        cancel_requested_at = coalesce(t.cancel_requested_at, clock_timestamp()),
        error = case
            when t.state = 'PROCESSING' then t.error
            else json_build_object('code', 'cancelled', 'message', 'cancelled before it ran')
        end
    from found
    where t.id = found.id
    returning t.id, t.state
), free as (
    select s.task_id from leaseq.scheduled as s
    join cancelled on s.task_id = cancelled.id
    for update of s skip locked
), gone as (
    delete from leaseq.scheduled as s
    using free
    where s.task_id = free.task_id
), unlimited as (
    -- Every change of this row locks the task first, as this statement has.
    delete from leaseq.limited as l
    using cancelled as c
    where l.task_id = c.id and c.state = 'CANCELLED'
)
select id::text, state from cancelled
