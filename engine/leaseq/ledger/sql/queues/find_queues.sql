-- The queues that the next tasks along the primary key name, in any state. One row always: the last
-- id that was looked at (null: the ledger ends before), and the names.
with chunk as materialized (
    select id, queue from leaseq.tasks
    where id > %(after)s::uuid
    order by id
    limit %(limit)s
)
select
    (select c.id::text from chunk as c order by c.id desc limit 1) as last_id,
    array(select distinct c.queue from chunk as c) as queues
