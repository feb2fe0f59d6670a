-- Of the next `rows` tasks before an id, newest first, find at most `limit` that can be cancelled:
-- those that wait, with `running` also those that run and have no request yet. There is no index on
-- state, on purpose, so the statement follows the primary key and is bounded by what it looks at.
-- Only tasks submitted until `as_of` count. One row always: how many it looked at, the last of them,
-- the ids that it found, and the last of those.
with page as materialized (
    select id, tenant, queue, type, state, created_at, cancel_requested_at
    from leaseq.tasks
    where id < %(position)s::uuid
    order by id desc
    limit %(rows)s
), matched as materialized (
    select id from page
    where (state in ('PENDING', 'SCHEDULED') or (%(running)s and state = 'PROCESSING' and cancel_requested_at is null))
        and created_at <= %(as_of)s
        and (%(tenant)s::text is null or tenant = %(tenant)s)
        and (%(queue)s::text is null or queue = %(queue)s)
        and (%(type)s::text is null or type = %(type)s)
    order by id desc
    limit %(limit)s
)
select
    (select count(*) from page) as looked, (select id::text from page order by id limit 1) as last_place,
    array(select id::text from matched order by id desc) as task_ids, (select id::text from matched order by id limit 1) as found_place
