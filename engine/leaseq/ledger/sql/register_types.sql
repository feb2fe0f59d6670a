-- What a worker's app can run, written at its boot; the API validates payloads against it. Zero rows: nothing new.
insert into leaseq.task_types (type, queue, payload_schema)
select * from unnest(%(types)s::text[], %(queues)s::text[], %(schemas)s::json[]) as t (type, queue, payload_schema)
order by 1
on conflict (type) do update
set queue = excluded.queue, payload_schema = excluded.payload_schema, updated_at = now()
where leaseq.task_types.queue <> excluded.queue
    or leaseq.task_types.payload_schema::text <> excluded.payload_schema::text
returning type
