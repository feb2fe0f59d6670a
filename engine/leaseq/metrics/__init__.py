"""Count what a process does, and expose the counts to Prometheus."""
