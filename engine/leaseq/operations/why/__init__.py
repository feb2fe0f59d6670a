"""Why a task is where it is: read the facts, and explain them in one sentence."""
