-- Delete the flush numbers of processes that have not reported for so many seconds. Zero rows: there
-- are none.
delete from leaseq.tally_flushes where at < clock_timestamp() - make_interval(secs => %(retention)s)
returning process
