"""The duties of the reaper except `reconcile`: reap, promote, refill, prune."""
