"""The report shows the run.

The page is opened in a real browser, the machine's own Chromium, driven by its command line. A page
around it measures it in a frame of the wanted width (a window cannot be as narrow as a phone),
plays the reader, and leaves what it found in its own document. Where there is no Chromium these
tests are skipped; what does not need one is tested without.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leaseq_chaos.report.write import write_report
from leaseq_chaos.verdict import Finding, Verdict, Violation
from support.invented_run import CHECKS, KINDS, Bulk, invent

Look = Callable[..., dict[str, Any]]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# The page around the report: what it sees after the script of the report has run, and after a few
# acts of a reader.
AROUND = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe src="report.html" style="width:WIDTHpx;height:900px;border:0"></iframe><pre id="found"></pre>
<script>
document.querySelector("iframe").addEventListener("load", (event) => {
  const view = event.target.contentWindow, page = view.document, root = page.documentElement;
  const all = (form) => [...page.querySelectorAll(form)];
  const beyond = ({ left, right, width }) => width && (right > root.clientWidth + 1 || left < -1);
  const framed = ".frame, .command, svg, nav, .layers"; // these scroll by themselves, or cut off
  const lanes = () => page.querySelector("#lanes svg");
  const found = {
    ready: root.dataset.ready ?? null,
    error: root.dataset.error ?? null,
    verdict: page.getElementById("verdict").innerText,
    colour: view.getComputedStyle(page.getElementById("verdict")).color,
    paper: view.getComputedStyle(page.body).backgroundColor,
    checkers: Object.fromEntries(all("[data-verdict][id]").map((row) => [row.id, row.dataset.verdict])),
    bars: all("#lanes [data-fault]").map((bar) => {
      const { width, height } = bar.getBoundingClientRect();
      return [bar.tagName, width, height];
    }),
    lanes: all("#lanes .name").map((name) => name.textContent),
    recoveries: all("[data-nemesis]").map((row) => row.dataset.nemesis),
    hits: all("[data-hit]").map((tile) => [tile.dataset.hit, tile.className]),
    lives: all("details.life").map((life) => [life.id, life.open, life.querySelectorAll("tbody tr").length]),
    ticks: all("#ticks span").map((tick) => tick.dataset.time ?? ""),
    width: root.clientWidth,
    scroll: root.scrollWidth,
    spilt: all("main *, header *").filter((part) => beyond(part.getBoundingClientRect()) && !part.closest(framed))
      .map((part) => part.outerHTML.slice(0, 80)),
    unlabelled: all("svg:not([aria-label]), button:not([aria-label]):empty, table:not(:has(caption)), th:not([scope])").length,
  };
  const bar = page.querySelector("#lanes [data-fault]"), box = bar.getBoundingClientRect();
  const where = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true, pointerType: "mouse" };
  bar.dispatchEvent(new view.PointerEvent("pointermove", where));
  found.tip = page.getElementById("tip").innerText;
  found.tip_hidden = page.getElementById("tip").hidden;
  page.querySelector("[data-zoom=in]").click();
  found.zoomed = lanes().getAttribute("viewBox");
  page.querySelector("[data-zoom=all]").click();
  found.whole = lanes().getAttribute("viewBox");
  const strip = page.getElementById("ticks").parentElement.getBoundingClientRect();
  const at = (share, type) => page.getElementById("timeline").dispatchEvent(
    new view.PointerEvent(type, { ...where, clientX: strip.left + share * strip.width, button: 0 }));
  at(0.25, "pointerdown"); at(0.5, "pointermove"); at(0.5, "pointerup");
  found.dragged = lanes().getAttribute("viewBox");
  const list = page.getElementById("list");
  found.list_before = list.open;
  view.location.hash = page.querySelector("details#list tbody tr").id;
  view.dispatchEvent(new view.Event("hashchange"));
  found.list_after = list.open;
  found.late_error = root.dataset.error ?? null;
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>
"""


@pytest.fixture(scope="module")
def bulk() -> Bulk:
    return invent()


@pytest.fixture(scope="module")
def written(bulk: Bulk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("report")
    assert write_report(directory, bulk.evidence, bulk.findings) == directory / "report.html"
    return directory


@pytest.fixture(scope="module")
def look(written: Path) -> Look:
    """Opens the report as wide as asked, in light or dark."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"the report cannot be looked at: none of {', '.join(BROWSERS)} is installed")

    def see(width: int, *, dark: bool = False) -> dict[str, Any]:
        around = written / f"around-{width}-{dark}.html"
        around.write_text(AROUND.replace("WIDTH", str(width)), encoding="utf-8")
        command = [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--allow-file-access-from-files", "--disable-background-networking", f"--user-data-dir={written / 'profile'}",
            f"--window-size={max(width, 500)},900", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--dump-dom", around.as_uri(),
        ]  # fmt: skip
        dumped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        inside = re.search(r'<pre id="found">(.+?)</pre>', dumped, re.DOTALL)
        assert inside is not None, dumped[-2000:]
        found: dict[str, Any] = json.loads(unescape(inside[1]))
        return found

    return see


@pytest.fixture(scope="module")
def desktop(look: Look) -> dict[str, Any]:
    return look(1280)


def test_its_script_runs_to_the_end(desktop: dict[str, Any]) -> None:
    assert (desktop["ready"], desktop["error"], desktop["late_error"]) == ("yes", None, None)
    assert len(desktop["ticks"]) > 5


def test_report_shows_the_verdict_and_every_checker(desktop: dict[str, Any], bulk: Bulk) -> None:
    assert "invalid" in desktop["verdict"]
    assert desktop["checkers"] == {
        f"checker-{finding.checker}": finding.verdict for finding in bulk.findings
    }
    assert set(desktop["checkers"].values()) == {"valid", "invalid"}


def test_report_draws_every_fault_in_the_lane_of_its_kind(
    desktop: dict[str, Any], bulk: Bulk
) -> None:
    injected = [
        event for event in bulk.evidence.events if event.op == "fault" and event.kind == "ok"
    ]
    assert len(desktop["bars"]) == len(injected) > 50
    assert set(desktop["lanes"]) == {event.value["nemesis"] for event in injected}
    lasting = [(width, height) for tag, width, height in desktop["bars"] if tag == "rect"]
    assert 10 < len(lasting) < len(injected)
    assert all(width > 1 and height > 5 for width, height in lasting)


def test_report_shows_recovery_and_coverage(desktop: dict[str, Any]) -> None:
    assert sorted(desktop["recoveries"]) == sorted(KINDS)
    assert ["stranded", "never"] in desktop["hits"]
    assert ["fenced", "hit"] in desktop["hits"]


def test_report_shows_the_timeline_of_the_task_concerned(
    desktop: dict[str, Any], bulk: Bulk
) -> None:
    ((name, unfolded, moments),) = desktop["lives"]
    assert (name, unfolded) == (f"life-{bulk.wronged}", True)
    assert moments > 12


def test_report_describes_the_moment_under_the_pointer(desktop: dict[str, Any]) -> None:
    assert not desktop["tip_hidden"]
    for part in (desktop["lanes"][0], "f-", "ended /s", "PROCESSING"):
        assert part in desktop["tip"]


def test_report_zooms_in_and_out(desktop: dict[str, Any]) -> None:
    def span(view: str) -> tuple[float, float]:
        left, _, width, _ = map(float, view.split())
        return left, width

    assert span(desktop["whole"]) == (0, 180)
    assert span(desktop["zoomed"]) == (45, 90)
    left, width = span(desktop["dragged"])
    assert left == pytest.approx(45, abs=1)
    assert width == pytest.approx(45, abs=1)


def test_a_link_unfolds_what_it_leads_to(desktop: dict[str, Any]) -> None:
    assert (desktop["list_before"], desktop["list_after"]) == (False, True)


@pytest.mark.parametrize("width", [400, 768, 1280])
def test_nothing_is_wider_than_the_window(look: Look, width: int) -> None:
    found = look(width)
    assert (found["width"], found["scroll"], found["spilt"]) == (width, width, [])
    assert found["error"] is None


def test_report_follows_a_dark_colour_scheme(look: Look, desktop: dict[str, Any]) -> None:
    dark = look(1280, dark=True)
    assert dark["ready"] == "yes"
    assert dark["paper"] != desktop["paper"]
    assert dark["colour"] != desktop["colour"]


def test_everything_drawn_has_a_name(desktop: dict[str, Any]) -> None:
    assert desktop["unlabelled"] == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_its_colours_can_be_read(theme: str) -> None:
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for drawings (1.4.11)."""
    colours = _colours()[theme]
    for name in ("ink", "soft", "valid", "invalid", "unknown", "link"):
        assert _contrast(colours[name], colours["paper"]) >= 4.5, name
        assert _contrast(colours[name], colours["sheet"]) >= 4.5, name
    for name in (
        "process",
        "valkey",
        "postgres",
        "network",
        "machine",
        "poison",
        "combined",
        "strong",
        "plain",
    ):
        assert _contrast(colours[name], colours["sheet"]) >= 3, name


def test_report_loads_nothing_from_elsewhere(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#|tasks/)[^"']*""", page)
    assert not re.findall(r"url\(|@import|https?://", page)


def test_every_link_within_it_leads_somewhere(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    names = Counter(re.findall(r' id="([^"]+)"', page))
    assert {name for name, count in names.items() if count > 1} == set()
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert len(links) > 5
    assert links <= set(names)
    files_told = re.findall(r'href="(tasks/[^"]+)"', page)
    assert files_told
    assert all((written / name).is_file() for name in files_told)


def test_report_escapes_text_of_the_evidence(bulk: Bulk, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    run = msgspec.structs.replace(
        bulk.evidence.run, about=evil, scenario=evil, command=evil, machine={evil: evil}
    )
    events = [
        msgspec.structs.replace(event, value={**event.value, "target": evil})
        if event.op == "fault"
        else event
        for event in bulk.evidence.events
    ]
    findings = [
        Finding(
            checker="keys",
            invariant=evil,
            verdict=Verdict.INVALID,
            said=evil,
            violations=[Violation(evil, bulk.wronged)],
        )
    ]
    evidence = msgspec.structs.replace(bulk.evidence, run=run, events=events)
    page = write_report(tmp_path, evidence, findings).read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert "<img" not in page
    assert page.count("</script>") == 2  # the data and the script


@pytest.mark.parametrize(
    ("verdicts", "shown"),
    [
        ([], "unknown"),
        (["valid"], "valid"),
        (["valid", "unknown"], "unknown"),
        (["unknown", "invalid"], "invalid"),
    ],
)
def test_an_unknown_is_never_shown_as_valid(
    bulk: Bulk, tmp_path: Path, verdicts: list[str], shown: str
) -> None:
    findings = [
        Finding(
            checker=name, invariant="It holds.", verdict=Verdict(verdict), said="It was looked at."
        )
        for name, verdict in zip(CHECKS, verdicts, strict=False)
    ]
    page = write_report(tmp_path, bulk.evidence, findings).read_text(encoding="utf-8")
    assert f'<html lang="en" data-verdict="{shown}">' in page
    assert re.search(rf'<header class="head is-{shown}"', page)
    assert ("All 1 checkers" in page) == (shown == "valid")


def test_missing_coverage_is_shown_first(bulk: Bulk, tmp_path: Path) -> None:
    run = msgspec.structs.replace(bulk.evidence.run, expects=["fenced", "stranded", "unheard-of"])
    page = write_report(
        tmp_path, msgspec.structs.replace(bulk.evidence, run=run), bulk.findings
    ).read_text(encoding="utf-8")
    tiles = re.findall(r'<li class="(\w+)" data-hit="([\w-]+)">', page)
    assert tiles[:3] == [("missed", "stranded"), ("missed", "unheard-of"), ("hit", "fenced")]


def test_a_recovery_beyond_its_bound_is_marked(bulk: Bulk, tmp_path: Path) -> None:
    facts = {
        "flushall count": 3.0,
        "flushall p50": 1.0,
        "flushall max": 7.0,
        "flushall judged": 9.0,
        "flushall bound": 8.0,
    }
    finding = Finding(
        checker="recovery",
        invariant="It is bounded.",
        verdict=Verdict.INVALID,
        said="Three.",
        facts=facts,
    )
    page = write_report(tmp_path, bulk.evidence, [finding]).read_text(encoding="utf-8")
    assert '<td class="n late">9.00</td>' in page
    assert '<td class="n">7.00</td>' in page
    assert page.count('data-nemesis="flushall"') == 1


def test_every_violation_is_counted_and_each_moment_is_marked_once(
    bulk: Bulk, tmp_path: Path
) -> None:
    began = bulk.evidence.run.began
    violations = [
        Violation("late", None, began + second * 1_000_000_000 + more)
        for second in (5, 90)
        for more in range(700)
    ]
    finding = Finding(
        checker="recovery",
        invariant="It is bounded.",
        verdict=Verdict.INVALID,
        said="Many.",
        violations=violations,
    )
    page = write_report(tmp_path, bulk.evidence, [finding]).read_text(encoding="utf-8")
    (lane,) = re.findall(r'<div class="row lanes violations">.*?</svg>', page, re.DOTALL)
    assert '<span class="count">1,400</span>' in lane
    assert lane.count("<path") == 2
    assert "and 1,300 more, in verdict.json" in page


def test_a_run_in_which_nothing_happened_can_be_shown(bulk: Bulk, tmp_path: Path) -> None:
    snapshot = msgspec.structs.replace(
        bulk.evidence.snapshot, tasks=[], attempts=[], keys=[], effects=[], drained=False
    )
    empty = msgspec.structs.replace(
        bulk.evidence, events=[], commits=[], logs=[], snapshot=snapshot
    )
    page = write_report(tmp_path, empty, []).read_text(encoding="utf-8")
    assert "no faults were injected" in page
    assert "not drained after" in page
    # not counted, which is not the same as never
    assert "The checker sometimes had no figures" in page
    assert "never happened</span>" not in page


def test_half_an_hour_with_a_thousand_faults_stays_small(tmp_path: Path) -> None:
    """Its size follows from the seconds, the faults and the violations; a hundred thousand tasks
    add nothing."""
    bulk = invent(tasks=4000, seconds=1800, faults=1000)
    tasks = [str(row["task_id"]) for row in bulk.evidence.snapshot.tasks]
    violations = [
        Violation("It was lost, and nobody knows where it went.", task, bulk.evidence.run.began)
        for task in tasks
    ]
    findings = [
        msgspec.structs.replace(finding, violations=violations) for finding in bulk.findings
    ]
    size = write_report(tmp_path, bulk.evidence, findings).stat().st_size
    assert 500_000 < size < 3_000_000
    assert len(list((tmp_path / "tasks").iterdir())) == 50


def _colours() -> dict[str, dict[str, str]]:
    style = (files("leaseq_chaos.report") / "page.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    return {"light": light, "dark": {**light, **dark}}


def _contrast(one: str, other: str) -> float:
    bright, dim = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
