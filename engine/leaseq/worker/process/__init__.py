"""Keep a worker process in order against the code of its handlers."""
