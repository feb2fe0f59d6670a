-- Make queues known by name before anything is submitted to them.
insert into leaseq.queues (name)
select * from unnest(%(names)s::text[]) order by 1
on conflict (name) do nothing
