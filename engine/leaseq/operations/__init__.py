"""Operations of clients and operators, which join ledger and dispatch."""
