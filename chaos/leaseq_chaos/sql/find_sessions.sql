-- find sessions: the backends that serve processes of leaseq, by pid.
select pid from pg_stat_activity where starts_with(application_name, 'leaseq ') order by pid
