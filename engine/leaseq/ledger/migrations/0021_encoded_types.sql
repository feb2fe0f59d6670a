-- Whether the app of a task type encodes its contents (`Leaseq(codec=...)`). Then a payload in plain JSON is refused at
-- submission by processes that do not have the codec: the API and the command line. A part of the version of a handler, as its
-- other properties.
alter table leaseq.type_versions add column encoded boolean not null default false;
