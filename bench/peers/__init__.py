"""Compare other task queues at the same work, in the same run.

`sides/` runs in the environment of each contender and knows the standard library and that contender
alone; the rest runs in ours and knows no contender but by its description.
"""
