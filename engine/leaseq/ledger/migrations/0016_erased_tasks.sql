-- A task that has ended can be erased: its row stays and says when, and holds nothing that its client or its handler wrote
-- (docs/decisions/0041-erasing-leaves-a-tombstone.md). The constraints hold against every process: one of an older version, whose
-- redrive does not know `erased_at`, is refused by them and cannot hand a task without a payload to a worker. Nothing is written
-- again and nothing is read: the column is nullable, and no row exists yet that the new constraints could refuse, which `not
-- valid` says. They are checked at every insert and update from here on.
alter table leaseq.tasks
    add column erased_at timestamptz,
    alter column payload drop not null,
    drop constraint result_exactly_with_success,
    add constraint result_exactly_with_success
        check ((result is not null) = (state = 'SUCCESS' and erased_at is null)) not valid,
    add constraint content_until_erased check (
        case
            when erased_at is null then payload is not null
            else state in ('SUCCESS', 'FAILED', 'CANCELLED')
                and payload is null and headers is null and error is null and progress is null
        end
    ) not valid;
