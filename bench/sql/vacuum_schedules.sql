-- What autovacuum has done to schedules that were not put a moment ago.
vacuum (analyze) leaseq.schedules
