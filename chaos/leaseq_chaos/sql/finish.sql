-- End a transaction from inside, as a library may do that knows nothing of the block around it.
commit
