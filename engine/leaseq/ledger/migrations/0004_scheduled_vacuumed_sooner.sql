-- Every pass of `promote` begins at the head of scheduled_due, where what was promoted leaves dead entries behind: 200,000 of them cost
-- it 2.5 ms instead of 0.2, ten times a second, and by the default a table of ten million keeps two million before anybody
-- comes by. A vacuum of a million rows takes a tenth of a second (docs/performance.md).
alter table leaseq.scheduled set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);
