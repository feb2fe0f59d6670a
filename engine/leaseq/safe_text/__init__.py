"""Text that is safe to store and show: no secrets, row data, control characters."""
