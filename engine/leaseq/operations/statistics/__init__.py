"""Statistics over time: write those of this process, and read those of all."""
