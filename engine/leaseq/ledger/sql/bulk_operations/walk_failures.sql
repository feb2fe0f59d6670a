-- The same for the dead letters of one type and fingerprint, by the index on them, in the order in
-- which they failed. `found_place` is the position behind the last id that was found, `last_place`
-- that behind the last letter that it looked at.
with page as materialized (
    select task_id, tenant, queue, failed_at
    from leaseq.dead_letters
    where type = %(type)s and fingerprint = %(error)s and failed_at <= %(as_of)s
        and (failed_at, task_id) > (%(position_at)s::timestamptz, %(position)s::uuid)
    order by failed_at, task_id
    limit %(rows)s
), matched as materialized (
    select task_id, failed_at from page
    where (%(tenant)s::text is null or tenant = %(tenant)s)
        and (%(queue)s::text is null or queue = %(queue)s)
    order by failed_at, task_id
    limit %(limit)s
)
select
    (select count(*) from page) as looked,
    (select failed_at::text || '|' || task_id from page order by failed_at desc, task_id desc limit 1) as last_place,
    array(select task_id::text from matched order by failed_at, task_id) as task_ids,
    (select failed_at::text || '|' || task_id from matched order by failed_at desc, task_id desc limit 1) as found_place
