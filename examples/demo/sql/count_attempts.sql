-- How many attempts did not end in SUCCESS, and how?
select outcome, count(*) as times from leaseq.attempts group by outcome order by outcome
