-- Refuse every write of this session. Lists and pages of the dashboard only read.
set default_transaction_read_only = on
