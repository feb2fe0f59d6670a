"""Many submissions in one request, each with its own outcome."""
