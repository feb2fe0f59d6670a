"""The duty to reconcile: make dispatch agree with the ledger."""
