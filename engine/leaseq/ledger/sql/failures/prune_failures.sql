-- Delete counts of ten minutes and of hours that nothing shows any more, and groups that have not
-- occurred for so long, at most `limit` of each. Parameters in seconds. One row always, never zero rows: how
-- many counts and how many groups were deleted.
with fine as (
    delete from leaseq.failure_counts where ctid = any(array(
        select ctid from leaseq.failure_counts where step = 10 and at < now() - make_interval(secs => %(fine)s) limit %(limit)s
    ))
    returning 1
), coarse as (
    delete from leaseq.failure_counts where ctid = any(array(
        select ctid from leaseq.failure_counts where step = 60 and at < now() - make_interval(secs => %(coarse)s) limit %(limit)s
    ))
    returning 1
), groups as (
    delete from leaseq.failures where ctid = any(array(
        select ctid from leaseq.failures where last_seen < now() - make_interval(secs => %(groups)s) limit %(limit)s
    ))
    returning 1
)
select (select count(*) from fine) + (select count(*) from coarse) as counts, (select count(*) from groups) as groups
