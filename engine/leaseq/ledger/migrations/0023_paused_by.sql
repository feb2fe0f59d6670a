-- Who paused a queue, why and when, because the next person on call asks. All three are null while a queue is not paused, and
-- where a process of an older version paused it. Such a process leaves them as they are when it resumes a queue: readers look at
-- `paused` first. Nothing is written again: the columns are nullable. The roles of services may read and write the table, and so
-- its new columns.
alter table leaseq.queues
    add column paused_by text,
    add column paused_reason text,
    add column paused_at timestamptz;
