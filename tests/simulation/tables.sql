-- What the state machine adds to the ledger's database: every move of a task, written down by the
-- transaction that makes it, and the effects of its handlers, without a unique constraint, so that
-- a second one would show.
create schema machine;
create table machine.moves (
    number bigserial primary key,
    task_id text not null,
    state_before text,
    state text not null,
    attempt_before integer not null,
    attempt integer not null,
    crash_count integer not null,
    closed boolean not null -- it is given to a worker that is closed
);
create table machine.effects (task_id text not null, attempt integer not null, body text not null);
create function machine.note_move() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into machine.moves (task_id, state, attempt_before, attempt, crash_count, closed)
        values (new.id, new.state, 0, new.attempt, new.crash_count, false);
    elsif (old.state, old.attempt) is distinct from (new.state, new.attempt) then
        insert into machine.moves (task_id, state_before, state, attempt_before, attempt, crash_count, closed)
        values (
            new.id, old.state, new.state, old.attempt, new.attempt, new.crash_count,
            exists (select from leaseq.workers where id = new.worker_id and closed_at is not null)
        );
    end if;
    return null;
end $$;
create trigger note_move after insert or update on leaseq.tasks for each row execute function machine.note_move();

-- The functions that settle on a handler's connection run as the owner of the schema `leaseq`, and
-- write here by the triggers.
grant usage on schema machine to public;
grant all on all tables in schema machine to public;
grant all on all sequences in schema machine to public;
