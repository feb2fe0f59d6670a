"""`leaseq dev`: everything on one machine, for whoever writes handlers."""
