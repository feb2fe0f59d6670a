-- Read how current the statistics are. One row always. `began_at`: when a process reported for the
-- first time (null: none has). `flushed_at`: when one reported last. `reporting`: processes that did
-- so in the last %(silent)s seconds. `waits_since`: the age of the oldest tally that no reaper has
-- folded (null: there is none).
select
    clock_timestamp() as now,
    coalesce((select began_at from leaseq.stats_fold), min(f.at)) as began_at,
    max(f.at) as flushed_at,
    (count(*) filter (where f.at >= clock_timestamp() - make_interval(secs => %(silent)s)))::integer as reporting,
    (select min(t.at) from leaseq.tallies as t) as waits_since
from leaseq.tally_flushes as f
