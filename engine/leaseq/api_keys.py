"""API keys: their text, their scopes, and what the ledger keeps of them."""

from __future__ import annotations

from typing import Literal, get_args

ScopeName = Literal["submit", "read", "payloads", "operate", "admin", "metrics"]
SCOPES: tuple[ScopeName, ...] = get_args(ScopeName)

__all__ = ["SCOPES", "ScopeName"]
