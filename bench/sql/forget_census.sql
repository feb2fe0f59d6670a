-- Let the next question take a census.
delete from leaseq.census
