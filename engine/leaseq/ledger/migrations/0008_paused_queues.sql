-- Every claim asks which queues are paused. Clients can make up any number of queue names, and without an index the claim reads
-- them all.
create index queues_paused on leaseq.queues (name) where paused;
