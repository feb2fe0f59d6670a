-- Hand-backs that a task itself causes are counted, and recorded in place (docs/decisions/0015-hand-backs-slow-down.md).
--   tasks.hand_back_count: how many attempts in a row were handed back so; each next one waits longer.
--   attempts.hand_backs: null for any other ending. Else the row stands for so many attempts, the first of which is `attempt`.
--   scheduled.awaited_type: the task type that the worker did not know; a worker that knows it makes the row due.
-- All three are nullable or have a default, so no row is written again, and a process of an older version leaves them alone. The
-- index holds no row yet; to build it, Postgres reads `scheduled` once.
alter table leaseq.tasks add column hand_back_count integer not null default 0;
alter table leaseq.attempts add column hand_backs integer;
alter table leaseq.scheduled add column awaited_type text;
create index scheduled_awaited on leaseq.scheduled (awaited_type, queue) where awaited_type is not null;
