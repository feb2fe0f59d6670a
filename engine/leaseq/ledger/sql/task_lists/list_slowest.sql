-- Of the newest `rows` tasks, of any type and tenant, list those of one type that have ended and whose last
-- attempt ran longest, in one tenant (in any: null). A task that ended without an attempt is left out.
-- Zero rows: there is none among them.
select page.id::text as task_id, page.state, extract(epoch from page.finished_at - page.started_at)::float8 as ran_seconds, page.finished_at
from (
    select id, tenant, type, state, started_at, finished_at
    from leaseq.tasks
    order by id desc
    limit %(rows)s
) as page
where page.type = %(type)s and (%(tenant)s::text is null or page.tenant = %(tenant)s::text) and page.finished_at >= page.started_at
order by ran_seconds desc, page.id desc
limit %(limit)s
