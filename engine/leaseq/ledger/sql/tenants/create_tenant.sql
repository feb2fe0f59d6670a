-- Make a tenant known. Zero rows: it was known.
insert into leaseq.tenants (name) values (%(name)s) on conflict (name) do nothing
returning name, created_at, unfinished, unfinished_per_queue, payload_bytes_per_day
