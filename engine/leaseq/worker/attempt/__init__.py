"""One attempt of a task, from its claim to the release of its delivery."""
