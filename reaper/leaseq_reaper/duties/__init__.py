"""The duties of the reaper except `reconcile`: recover, promote, refill, prune."""
