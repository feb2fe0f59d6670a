-- The limit of the tasks of a schedule, and their concurrency key (docs/limits.md), as those of a submission. Null: they have no limit.
-- A schedule that was put before has none until it is put again. Code that declares it does so when a worker starts.
alter table leaseq.schedules add column limit_name text, add column concurrency_key text;
