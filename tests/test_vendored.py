"""Files of other projects in the wheel are unchanged and have their licences."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leaseq_api.docs_page import VENDORED
from leaseq_api.ui.static_files import OWN
from leaseq_api.ui.static_files import VENDORED as DASHBOARD
from support.source_tree import PACKAGES, ROOT

LISTED: list[dict[str, Any]] = tomllib.loads(
    (ROOT / "deploy" / "vendored.toml").read_text(encoding="utf-8")
)["vendored"]


def differing(folder: Path, checksums: dict[str, str]) -> Iterator[str]:
    """The files that are missing, unlisted or changed."""
    found = {path.name: path for path in folder.iterdir()}
    yield from found.keys() ^ checksums.keys()
    for name in found.keys() & checksums.keys():
        if hashlib.sha256(found[name].read_bytes()).hexdigest() != checksums[name]:
            yield name


def test_vendored_files_have_the_recorded_checksums() -> None:
    for entry in LISTED:
        assert list(differing(ROOT / entry["folder"], entry["sha256"])) == [], entry["name"]
        assert entry["integrity"].startswith("sha512-")
        assert {"version", "licence", "about"} <= entry.keys()
        assert any("LICENSE" in name for name in entry["sha256"])


def test_a_changed_a_missing_and_an_added_file_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "changed").write_text("b")
    (tmp_path / "added").write_text("")
    checksums = {"changed": hashlib.sha256(b"a").hexdigest(), "missing": ""}
    assert sorted(differing(tmp_path, checksums)) == ["added", "changed", "missing"]


def test_the_page_at_docs_serves_what_is_recorded() -> None:
    (swagger,) = [entry for entry in LISTED if entry["name"] == "swagger-ui-dist"]
    assert set(VENDORED) == swagger["sha256"].keys()


def test_the_dashboard_serves_what_is_recorded() -> None:
    (idiomorph,) = [entry for entry in LISTED if entry["name"] == "idiomorph"]
    assert set(DASHBOARD) == idiomorph["sha256"].keys()


def test_every_script_and_style_in_the_packages_is_recorded_or_our_own() -> None:
    recorded = {ROOT / entry["folder"] / name for entry in LISTED for name in entry["sha256"]}
    ours = {PACKAGES["leaseq_chaos"] / "report" / name for name in ("page.css", "page.js")}
    ours |= {PACKAGES["leaseq_api"] / "ui" / "static" / name for name in OWN}
    found = {
        path
        for folder in PACKAGES.values()
        for path in folder.rglob("*")
        if path.suffix in (".css", ".js", ".wasm", ".woff2")
    }
    assert found <= recorded | ours
