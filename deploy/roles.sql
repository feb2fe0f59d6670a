-- The login roles of leaseq, with their passwords; run by psql as a superuser, again at each start.
-- Their rights are made by `leaseq migrate --grants`. The example's handlers make their tables
-- themselves: an application with migrations needs no `create`.
\getenv service_password SERVICE_PASSWORD
\getenv handler_password HANDLER_PASSWORD
select format('create role %I login', name)
from unnest(array['leaseq_service', 'leaseq_handler']) as wanted (name)
where not exists (select from pg_roles where rolname = name)
\gexec
alter role leaseq_service password :'service_password';
alter role leaseq_handler password :'handler_password';
grant usage, create on schema public to leaseq_handler;
