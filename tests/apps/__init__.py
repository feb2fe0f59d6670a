"""Apps that tests run in real workers."""
