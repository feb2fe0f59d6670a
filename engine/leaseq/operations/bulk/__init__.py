"""Operations on many tasks: requests of clients, and the work in steps."""
