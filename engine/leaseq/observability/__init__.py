"""Events: their catalogue, and the log lines that are written from them."""
