-- One group of failures of a tenant (of every tenant, whose groups of one fingerprint are one: null),
-- with the number of attempts in the last 24 hours and the versions, in the order in which they came.
-- Zero rows: there is no such group.
select
    f.type, f.fingerprint, f.first_seen, f.versions,
    coalesce((
        select sum(c.n) from leaseq.failure_counts as c
        where c.type = f.type and c.fingerprint = f.fingerprint and c.step = 60 and c.at > now() - interval '24 hours'
            and (%(tenant)s::text is null or c.tenant = %(tenant)s::text)
    ), 0)::bigint as in_day
from (
    select
        g.type, g.fingerprint, min(g.first_seen) as first_seen,
        coalesce(array_agg(v.key order by v.value::text::float8, v.key) filter (where v.key is not null), '{}') as versions
    from leaseq.failures as g
    left join lateral jsonb_each(g.versions) as v on true
    where g.type = %(type)s::text and g.fingerprint = %(fingerprint)s::text
        and (%(tenant)s::text is null or g.tenant = %(tenant)s::text)
    group by g.type, g.fingerprint
) as f
