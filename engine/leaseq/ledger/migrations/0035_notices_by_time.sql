-- Notices by their time, and by their name and time (docs/operations.md#notices). A process that could not reach Postgres writes its
-- notices later, so ids are not in the order of the times. The diary lists a time, and the chart of the overview marks the newest events
-- of a few names, without a look at the others. There are about 100,000 notices at most, so both are built in less than a second.
create index notices_at on leaseq.notices (at, id);
create index notices_name on leaseq.notices (name, at, id);
