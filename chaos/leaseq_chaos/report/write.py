"""Write the report page.

Template, style and script lie beside this file. The result is one page that needs no network and
opens from a folder; the policy in its head forbids it to load anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import msgspec

from leaseq_chaos.evidence import Evidence
from leaseq_chaos.report.faults import faults_of
from leaseq_chaos.report.head import draw_head
from leaseq_chaos.report.judged import draw_checkers, draw_lives
from leaseq_chaos.report.life import write_lives
from leaseq_chaos.report.markup import HTML, element, text
from leaseq_chaos.report.recovery import draw_recovery
from leaseq_chaos.report.tables import (
    draw_clients,
    draw_faults,
    draw_refusals,
    draw_skips,
    draw_sometimes,
    draw_workload,
)
from leaseq_chaos.report.timeline import draw_timeline
from leaseq_chaos.verdict import Finding, merged

__all__ = ["write_report"]


def write_report(directory: Path, evidence: Evidence, findings: Sequence[Finding]) -> Path:
    """Write `report.html`, and `tasks/<id>.txt` for each task that a violation names. Returns the
    page's path."""
    faults = faults_of(evidence)
    lives = write_lives(directory, evidence, findings)
    timeline, told = draw_timeline(evidence, findings)
    verdict = merged(finding.verdict for finding in findings)
    page = _file("page.html").substitute(
        title=text(f"{verdict}: {evidence.run.scenario}, seed {evidence.run.seed}"),
        verdict=verdict,
        style=_file("page.css").template,
        script=_file("page.js").template,
        data=_embedded(told),
        head=draw_head(evidence, findings, faults),
        timeline=timeline,
        recovery=draw_recovery(findings),
        checkers=draw_checkers(findings, lives, began=evidence.run.began),
        lives=_section("lives", "Lives of the tasks concerned", draw_lives(lives)) if lives else "",
        sometimes=draw_sometimes(findings, evidence.run.expects),
        workload=draw_workload(evidence),
        clients=draw_clients(evidence),
        skips=draw_skips(evidence),
        refusals=draw_refusals(evidence),
        faults=draw_faults(faults),
        fault_count=f"{len(faults):,}",
    )
    path = directory / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _section(name: str, title: str, inside: HTML) -> HTML:
    return element(
        "section",
        element("h2", text(title), id=f"{name}-title"),
        inside,
        id=name,
        aria_labelledby=f"{name}-title",
    )


def _embedded(told: dict[str, Any]) -> str:
    """JSON that may stand in a script element: no end tag can be in it."""
    return msgspec.json.encode(told).decode().replace("<", "\\u003c")


def _file(name: str) -> Template:
    return Template((files("leaseq_chaos.report") / name).read_text(encoding="utf-8"))
