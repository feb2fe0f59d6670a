-- Delete the operations past retention among the oldest `limit`. Zero rows: none of them is.
delete from leaseq.operations
where id in (select id from leaseq.operations order by id limit %(limit)s)
    and began_at < now() - make_interval(secs => %(retention)s)
returning id
