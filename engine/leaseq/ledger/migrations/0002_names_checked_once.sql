-- Postgres evaluates every CHECK of a table again at every update, also of columns that did not change. The two patterns below
-- took more than half of what a claim and a settle cost (docs/performance.md). The names are checked where they come in
-- (engine/submission.py); of a queue's name, `leaseq.queues` keeps the pattern.
alter table leaseq.tasks
    drop constraint tasks_queue_check,
    drop constraint tasks_type_check;
