-- Pause or resume one queue. The flag in dispatch is a copy of this. An unknown queue can be paused
-- only while fewer than `most` queues are paused, since any client can make up names, and a paused
-- queue is never forgotten. Resuming a name does not make it known. Zero rows: the queue is not
-- known, and was not paused.
with known as (
    update leaseq.queues set paused = %(paused)s::boolean
    where name = %(name)s::text
    returning name, paused
), added as (
    insert into leaseq.queues (name, paused)
    select %(name)s::text, true
    where %(paused)s::boolean and not exists (select from known)
        and (select count(*) from (select from leaseq.queues where paused limit %(most)s) as p) < %(most)s
    on conflict (name) do update set paused = excluded.paused
    returning name, paused
)
select name, paused from known
union all
select name, paused from added
