-- List the FAILED tasks of one tenant (of every tenant: null), newest first, one page, along
-- `dead_letters` instead of all tasks. These parts stand in front of the last one of list_tasks.sql
-- (statements.py), which shows what the columns are. The statement follows one index, that of the
-- queue if there is one to look for, else that of the type, else that of the tenant, else the primary
-- key, and filters by the rest. So it looks at most at `rows` dead letters, of the one queue, say. The
-- meaning of `cursor` is that in list_tasks.sql. The tasks are read for the page only. One row without
-- a `task_id`: nothing was found.
with listed as materialized (
    select d.task_id
    from (
        select task_id, tenant, type, fingerprint
        from leaseq.dead_letters
        where (%(cursor)s::uuid is null or task_id < %(cursor)s::uuid)
            and (%(queue)s::text is null or queue = %(queue)s::text)
            and (%(queue)s::text is not null or %(type)s::text is null or type = %(type)s::text)
            and (
                %(queue)s::text is not null or %(type)s::text is not null
                or %(tenant)s::text is null or tenant = %(tenant)s::text
            )
        order by task_id desc
        limit %(rows)s
    ) as d
    where (%(tenant)s::text is null or d.tenant = %(tenant)s::text)
        and (%(type)s::text is null or d.type = %(type)s::text)
        and (%(error)s::text is null or d.fingerprint = %(error)s::text)
    order by d.task_id desc
    limit %(limit)s
), page as materialized (
    select t.*
    from listed
    cross join lateral (
        select * from leaseq.tasks as t where t.id = listed.task_id limit 1
    ) as t
    where t.state = 'FAILED'
), behind as materialized (
    select task_id as id
    from leaseq.dead_letters
    where (select count(*) from listed) < %(limit)s and (%(cursor)s::uuid is null or task_id < %(cursor)s::uuid)
        and (%(queue)s::text is null or queue = %(queue)s::text)
        and (%(queue)s::text is not null or %(type)s::text is null or type = %(type)s::text)
        and (
            %(queue)s::text is not null or %(type)s::text is not null
            or %(tenant)s::text is null or tenant = %(tenant)s::text
        )
    order by task_id desc
    offset %(rows)s - 1
    limit 1
), rest as materialized (
    select id from behind
    union all
    -- A row whose task is not FAILED any more, which a process of an older version has left, shows nothing.
    select min(task_id::text)::uuid
    from listed
    having count(*) >= %(limit)s and (select count(*) from page) < %(limit)s
)
