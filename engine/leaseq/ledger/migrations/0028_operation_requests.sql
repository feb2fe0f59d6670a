-- An operation that a client names by an id of its own, so that a form that is sent twice, or a request that a proxy repeats, acts
-- once (docs/audit.md). The id counts for one action on one target. Processes of an older version of leaseq write none. The table
-- holds operations of people, so the index is made in a moment.
alter table leaseq.operations add column request_id uuid;
create unique index operations_requests on leaseq.operations (request_id, action, target) where request_id is not null;
