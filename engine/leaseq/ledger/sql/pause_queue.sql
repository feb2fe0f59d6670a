-- Pause or resume one queue. The flag in dispatch is a copy of this.
insert into leaseq.queues (name, paused) values (%(name)s, %(paused)s)
on conflict (name) do update set paused = excluded.paused
returning name, paused
