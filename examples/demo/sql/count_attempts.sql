-- Count the attempts that did not end in SUCCESS, by how they ended.
select outcome, count(*) as times from leaseq.attempts group by outcome order by outcome
