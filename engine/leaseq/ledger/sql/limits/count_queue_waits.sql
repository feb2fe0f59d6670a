-- Count the tasks of one queue that wait for permits, by limit: of the tenants from one to another. Of each
-- limit the first `most` waiting tasks are looked at, and `rows` of all limits. `since` is the time since
-- which the first of them waits. Zero rows: none was found.
select looked.name, count(*)::integer as waiting, min(looked.since) as since
from (
    select l.name, x.task_id, x.since
    from leaseq.limits as l
    cross join lateral (
        select w.task_id, w.since from leaseq.limited as w
        where w.limit_id = l.id and w.admitted_at is null and w.due
            and w.tenant >= %(from_tenant)s::text and w.tenant <= %(to_tenant)s::text
        order by w.tenant, w.key, w.priority desc, w.task_id
        limit %(most)s
    ) as x
    limit %(rows)s
) as looked
cross join lateral (
    select t.queue from leaseq.tasks as t where t.id = looked.task_id limit 1
) as t
where t.queue = %(queue)s::text
group by looked.name
order by waiting desc, looked.name
