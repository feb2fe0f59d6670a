-- Delete a limit. A task in its line, or with its permit, is an error, 23503: a submission that names
-- the limit locks it. Zero rows: there is no such limit.
delete from leaseq.limits where name = %(name)s::text
returning name
