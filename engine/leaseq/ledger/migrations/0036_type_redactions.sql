-- The values of a type that the dashboard masks, where its handler says so: `@app.task(redact=...)`, a list of JSON pointers. A part of
-- the version of a handler, as its limits. Null, also for versions of an older leaseq: none.
alter table leaseq.type_versions add column redact json;
