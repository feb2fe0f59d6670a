"""The engine joins ledger and dispatch: submit, find, wait, cancel, redrive, reap."""
