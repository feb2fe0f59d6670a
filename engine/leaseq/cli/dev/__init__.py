"""`leaseq dev`: all processes on one machine, for developers of handlers."""
