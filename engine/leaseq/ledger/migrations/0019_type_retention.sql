-- How long the ended tasks of a type are kept, where its handler says so: `@app.task(retention=...)`. A part of the version of a
-- handler, as its other limits. Null, also for versions of an older leaseq: `LEASEQ_TASK_RETENTION_SECONDS`.
alter table leaseq.type_versions add column retention_seconds double precision check (retention_seconds > 0);
