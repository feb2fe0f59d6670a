-- Of the next `rows` dead letters after an id, find at most `limit` that match. Only tasks that have
-- failed until `as_of` count. One row always: how many it looked at, the last of them, the ids that it
-- found, and the last of those.
with page as materialized (
    select task_id, tenant, queue, type, failed_at, fingerprint
    from leaseq.dead_letters
    where task_id > %(position)s::uuid
    order by task_id
    limit %(rows)s
), matched as materialized (
    select task_id from page
    where failed_at <= %(as_of)s
        and (%(tenant)s::text is null or tenant = %(tenant)s)
        and (%(queue)s::text is null or queue = %(queue)s)
        and (%(type)s::text is null or type = %(type)s)
        and (%(error)s::text is null or fingerprint = %(error)s)
    order by task_id
    limit %(limit)s
)
select
    (select count(*) from page) as looked, (select task_id::text from page order by task_id desc limit 1) as last_place,
    array(select task_id::text from matched order by task_id) as task_ids,
    (select task_id::text from matched order by task_id desc limit 1) as found_place
