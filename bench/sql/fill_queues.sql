-- So many queues that are known by name and hold nothing.
insert into leaseq.queues (name)
select 'known.' || number from generate_series(1, %(count)s) as number
on conflict (name) do nothing
