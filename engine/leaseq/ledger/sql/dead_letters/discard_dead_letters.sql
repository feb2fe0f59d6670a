-- Of the next dead letters after an id, in order, delete those whose task is not FAILED or is gone:
-- a process of an older version has redriven or pruned it. One row always, never zero rows: the
-- last id that was looked at (null: there is none), and the number of deleted rows. States are
-- looked up one by one: no plan may read all tasks. A row that another transaction holds is left
-- for the next scan. A row that a settle has written since the statement began has another
-- `failed_at`, and stays.
with looked as materialized (
    select d.task_id, d.failed_at, coalesce(
        (select t.state <> 'FAILED' from leaseq.tasks as t where t.id = d.task_id), true
    ) as wrong
    from (
        select task_id, failed_at from leaseq.dead_letters
        where task_id > %(after)s::uuid
        order by task_id
        limit %(limit)s
    ) as d
), free as materialized (
    select d.place
    from looked as l
    cross join lateral (
        select ctid as place
        from leaseq.dead_letters
        where task_id = l.task_id and failed_at = l.failed_at
        offset 0
        for update skip locked
    ) as d
    where l.wrong
), gone as (
    delete from leaseq.dead_letters where ctid = any(array(select place from free))
    returning tenant, queue, type
), counted as (
    insert into leaseq.dead_letter_counts (tenant, queue, type, letters)
    select tenant, queue, type, -count(*) from gone group by tenant, queue, type
)
select (select task_id::text from looked order by task_id desc limit 1) as last_id, (select count(*) from gone) as count
