"""Keep one worker process in order, whatever the code of its handlers does."""
