"""The SQL statements of the demo, one per file in `sql/`."""

from __future__ import annotations

from pathlib import Path

STATEMENTS = {
    file.stem: file.read_bytes() for file in (Path(__file__).parent / "sql").glob("*.sql")
}
