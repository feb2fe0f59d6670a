-- Delete notices past retention, or beyond the `most` newest, among the oldest `limit`. Zero rows:
-- none of them is. Ids may have gaps, so somewhat fewer than `most` may stay.
delete from leaseq.notices
where id in (select id from leaseq.notices order by id limit %(limit)s)
    and (
        at < now() - make_interval(secs => %(retention)s)
        or id <= (select max(id) from leaseq.notices) - %(most)s::bigint
    )
returning id
