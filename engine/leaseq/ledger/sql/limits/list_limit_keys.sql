-- Count the permits and the waiting tasks of the keys of one limit, of one tenant or of all (null): the
-- keys with most waiting tasks first, at most `limit`. At most `most` tasks are looked at. Zero rows: no
-- task has this limit.
select tenant, key, count(admitted_at)::integer as admitted, (count(*) - count(admitted_at))::integer as waiting
from (
    (
        select x.tenant, x.key, x.admitted_at
        from leaseq.limits as l
        join leaseq.limited as x on x.limit_id = l.id and x.admitted_at is not null
        where l.name = %(name)s::text and (%(tenant)s::text is null or x.tenant = %(tenant)s::text)
        limit %(most)s
    )
    union all
    (
        select x.tenant, x.key, null
        from leaseq.limits as l
        join leaseq.limited as x on x.limit_id = l.id and x.admitted_at is null and x.due
        where l.name = %(name)s::text and (%(tenant)s::text is null or x.tenant = %(tenant)s::text)
        limit %(most)s
    )
) as looked
group by tenant, key
order by waiting desc, admitted desc, tenant, key
limit %(limit)s
