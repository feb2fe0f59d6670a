"""The page of the benchmark, from two small invented results."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec
import pytest
from bench.booklet import as_html
from bench.goals import GOALS, judge
from bench.others import Others, best_other, read_others
from bench.page import as_document, bind
from bench.paper import Report

from support.source_tree import ROOT

SAMPLES = ROOT / "tests" / "samples"
PNG = b"\x89PNG"


@pytest.fixture
def report() -> Report:
    return msgspec.json.decode((SAMPLES / "bench-result.json").read_bytes(), type=Report)


@pytest.fixture
def comparison() -> Others:
    return read_others(SAMPLES / "bench-peers.json")


def test_the_document_is_the_same_for_the_same_files(report: Report, comparison: Others) -> None:
    assert as_document(report, comparison) == as_document(report, comparison)


def test_the_document_tells_machine_settings_and_failures(report: Report) -> None:
    lines = as_document(report).splitlines()
    for line in (
        "- processor: a processor, 2 logical",
        "- set: concurrency = 200",
        "- FAILED: lost: a reason",
    ):
        assert line in lines
    assert any("runs 3" in line and "deep 1,000,000" in line for line in lines)
    assert not any("Beside the others" in line for line in lines)


def test_the_document_has_a_row_for_every_goal_and_every_figure(report: Report) -> None:
    text = as_document(report)
    assert [verdict.goal for verdict in judge(report.figures, report.scale)] == GOALS
    for goal in GOALS:
        assert f"\n| {goal.about} | {goal.unit} |" in text
    for figures in report.figures.values():
        for figure in figures:
            assert f"\n| {figure.name} | {figure.unit} |" in text


def test_every_table_of_the_document_is_even(report: Report, comparison: Others) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", as_document(report, comparison), re.MULTILINE)
    assert len(tables) > 5
    for table in tables:
        widths = {line.count(" | ") for line in table.splitlines() if not line.startswith("|---")}
        assert len(widths) == 1, table


def test_the_best_of_the_comparison_takes_the_place_of_what_is_known_from_elsewhere(
    report: Report, comparison: Others
) -> None:
    best = {goal.about: best_other(goal, comparison) for goal in GOALS}
    assert best["drain, one worker process"] == (9000.0, "fast")
    assert best["idle latency, p50"] == (1.5, "fast")
    # Not the one that was quick with some and lost others.
    assert best["one of two worker processes killed, p99"] == (12_000.0, "safe (reliable settings)")
    assert best["submit in bulk"] is None
    text = as_document(report, comparison)
    assert re.search(r"\| drain, one worker process \|.* \| fast 9,000 \|", text)
    assert re.search(r"\| submit in bulk \|.*elsewhere: PgQueuer", text)


def test_comparison_shows_settings_versions_and_failures(
    report: Report, comparison: Others
) -> None:
    text = as_document(report, comparison)
    assert "\n| fast | - | - | 9,000 (8,500 to 9,500) | - | - | - | - |\n" in text
    assert "\n| fast | 3 | 0 | 8 | 3 | 0.5 | 0.5 | - |\n" in text
    assert "\n| fast | fast==1.2.3 | batches of 100 | none documented | none |\n" in text
    assert "\n- FAILED: gone: it does not install\n" in text


def test_the_page_stands_alone(report: Report, comparison: Others) -> None:
    html = as_html(report, [("rates", PNG, PNG)], comparison)
    assert html.count("data:image/png;base64,") == 2
    assert not re.search(r"(?:src|href)(?:set)?=[\"'](?!data:)|https?://", html)


def test_without_matplotlib_there_is_a_page_and_it_says_so(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (html,) = bind(report, tmp_path / "result.json")
    assert "matplotlib is not installed" in html.read_text(encoding="utf-8")


def test_there_are_pictures_of_everything(
    report: Report, comparison: Others, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="only the extra `bench` brings it")
    from bench.plots.album import album, keep_pictures  # an optional extra

    pictures = album(report, comparison)
    assert [picture.name for picture in pictures] == [
        "rates",
        "others",
        "costs",
        "recovery",
        "scale",
        "cpu",
    ]
    assert all(
        picture.light.startswith(PNG) and picture.dark.startswith(PNG) for picture in pictures
    )
    assert all(
        file.read_bytes().startswith(PNG)
        for file in keep_pictures(pictures, tmp_path / "result.json")
    )
