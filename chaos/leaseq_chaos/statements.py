"""The SQL statements of the suite, one per file in `sql/`, by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

__all__ = ["STATEMENTS"]

STATEMENTS: Mapping[str, str] = {
    file.name.removesuffix(".sql"): file.read_text(encoding="utf-8")
    for file in (files("leaseq_chaos") / "sql").iterdir()
    if file.name.endswith(".sql")
}
