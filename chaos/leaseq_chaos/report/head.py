"""The top of the report: the verdict, and how to repeat the run.

It has the verdict, the reason, the parameters of the run, and the command to repeat it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from leaseq_chaos.evidence import Evidence
from leaseq_chaos.report.faults import Fault
from leaseq_chaos.report.judged import in_order
from leaseq_chaos.report.markup import HTML, element, joined, span, text
from leaseq_chaos.report.recovery import recoveries_of
from leaseq_chaos.verdict import Finding, Verdict, merged

__all__ = ["draw_head"]


def draw_head(evidence: Evidence, findings: Sequence[Finding], faults: Sequence[Fault]) -> HTML:
    """The whole head."""
    run, verdict = evidence.run, merged(finding.verdict for finding in findings)
    sign = {Verdict.VALID: "✓", Verdict.INVALID: "✕"}.get(verdict, "?")
    return element(
        "header",
        element("p", text("leaseq-chaos"), class_="brand"),
        element(
            "h1",
            element(
                "span",
                span(sign, "sign", aria_hidden="true"),
                text(verdict),
                class_="verdict",
                id="verdict",
            ),
            span(run.scenario, "scenario"),
        ),
        element("p", text(run.about), class_="about"),
        _because(findings, verdict),
        _tiles(evidence, findings, faults),
        element(
            "div",
            element("span", text("repeat it"), class_="prompt", id="repeat"),
            element(
                "code", text(run.command), id="command", tabindex="0", aria_labelledby="repeat"
            ),
            element("button", text("Copy"), type="button", id="copy"),
            class_="command",
        ),
        _machine(evidence),
        class_=f"head is-{verdict}",
        data_verdict=verdict,
    )


def _because(findings: Sequence[Finding], verdict: Verdict) -> HTML:
    counts = Counter(finding.verdict for finding in findings)
    if not findings:
        return element("p", text("No checker has judged this run."), class_="because")
    if verdict is Verdict.VALID:
        return element(
            "p", text(f"All {len(findings)} checkers found what has to hold."), class_="because"
        )
    names = {
        kind: joined(
            (
                element("a", text(finding.checker), href=f"#checker-{finding.checker}")
                for finding in in_order(findings)
                if finding.verdict is kind
            ),
            ", ",
        )
        for kind in (Verdict.INVALID, Verdict.UNKNOWN)
    }
    parts = []
    if counts[Verdict.INVALID]:
        parts.append(HTML(f"Violated: {names[Verdict.INVALID]}."))
    if counts[Verdict.UNKNOWN]:
        parts.append(HTML(f"Could not be judged: {names[Verdict.UNKNOWN]}."))
    parts.append(text(f"{counts[Verdict.VALID]} of {len(findings)} checkers are content."))
    return element("p", joined(parts, " "), class_="because")


def _tiles(evidence: Evidence, findings: Sequence[Finding], faults: Sequence[Fault]) -> HTML:
    run, violations = evidence.run, sum(len(finding.violations) for finding in findings)
    slowest = max(
        (r for r in recoveries_of(findings) if r.judged), key=lambda r: r.judged or 0, default=None
    )
    tiles = [
        ("tasks", f"{len(evidence.snapshot.tasks):,}", ""),
        ("faults", f"{len(faults):,}", ""),
        ("kinds of fault", f"{len({fault.nemesis for fault in faults}):,}", ""),
        ("violations", f"{violations:,}", "bad" if violations else ""),
    ]
    if slowest is not None:
        tiles.append((f"slowest recovery, {slowest.nemesis}", f"{slowest.judged:.2f} s", ""))
    tiles += [
        (
            "drained in" if evidence.snapshot.drained else "not drained after",
            f"{evidence.snapshot.waited_seconds:.1f} s",
            "",
        ),
        ("seed", str(run.seed), ""),
        ("minutes", f"{run.minutes:g}", ""),
        ("workers", str(run.workers), ""),
    ]
    cells = (
        element("div", element("dt", text(name)), element("dd", text(value)), class_=class_ or None)
        for name, value, class_ in tiles
    )
    return element("dl", *cells, class_="tiles")


def _machine(evidence: Evidence) -> HTML:
    facts = joined(
        (
            element("span", text(name), text(" "), element("b", text(value)))
            for name, value in evidence.run.machine.items()
        )
    )
    config = joined(
        element("div", element("dt", text(name)), element("dd", text(value)))
        for name, value in evidence.run.config.items()
    )
    fold = element(
        "details",
        element("summary", text("configuration of the services")),
        element("dl", config, class_="facts"),
    )
    return element(
        "div", element("p", facts, class_="machine"), *([fold] if evidence.run.config else [])
    )
