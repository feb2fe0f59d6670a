"""What does the demo ask Postgres? One file each, in `sql/`."""

from __future__ import annotations

from pathlib import Path

STATEMENTS = {file.stem: file.read_bytes() for file in (Path(__file__).parent / "sql").glob("*.sql")}
