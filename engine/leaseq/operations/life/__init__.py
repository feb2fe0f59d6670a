"""The life of one task: what happened to it, as lines and as a picture."""
