-- Delete services that have not been seen for so long: they have stopped, or died. Zero rows: none.
delete from leaseq.services
where last_seen < now() - make_interval(secs => %(retention)s)
returning id
