-- What is due is promoted queue by queue and lane by lane, so that a million tasks of one queue that become due at once hold up
-- nobody else's (docs/decisions/0011-a-bounded-window.md). Rows that are there already, and those that a process of an older
-- version still writes, are of no queue (''): they are promoted without a look at how full their lane is.
alter table leaseq.scheduled
    add column queue text not null default '',
    add column priority smallint not null default 0;
create index scheduled_due on leaseq.scheduled (queue, priority, run_at, task_id);
drop index leaseq.scheduled_run_at;
