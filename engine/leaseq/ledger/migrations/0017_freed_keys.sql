-- A person can free the idempotency key of a task that ended without success, so that it can stand for another task
-- (docs/decisions/0043-freeing-a-key.md). The task then does not run again: two tasks of one key would both take effect. The
-- constraint holds against every process, also against the redrive of one of an older version.
-- Nothing is written again and nothing is read, as in 0016.
alter table leaseq.tasks
    add column key_freed_at timestamptz,
    add constraint freed_key_ends_the_task check (key_freed_at is null or state in ('FAILED', 'CANCELLED')) not valid;
