"""Alerts fire when they should, and alerts and dashboard name metrics that exist.

promtool evaluates the rules: on calm series nothing fires, and each alert fires on the calm series
with one or two of them changed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from leaseq.metrics.catalogue import METRICS
from support.source_tree import ROOT

RULES = ROOT / "deploy" / "prometheus" / "leaseq.rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "leaseq.json"
PROMTOOL = shutil.which("promtool")
NAME = re.compile(r"\bleaseq_[a-z_]+")

REAPER = 'job="r",instance="r1"'
WORKER = 'job="w",instance="w1"'
TASK = f'queue="q",type="t",{WORKER}'
REAPED = f'leaseq_reaper_last_pass_timestamp_seconds{{duty="reap",{REAPER}}}'
LEDGER = f'leaseq_store_up{{store="ledger",{REAPER}}}'
DISPATCH = f'leaseq_store_up{{store="dispatch",{REAPER}}}'
OLDEST = f'leaseq_queue_oldest_seconds{{queue="q",{REAPER}}}'
SERVED = f'leaseq_queue_workers{{queue="q",{REAPER}}}'
PAUSED = f'leaseq_queue_paused{{queue="q",{REAPER}}}'
OVERDUE = f'leaseq_due_overdue_seconds{{queue="q",{REAPER}}}'
ERRORED = f'leaseq_attempts_total{{outcome="errored",{TASK}}}'
FAILED = f'leaseq_tasks_ended_total{{state="FAILED",{TASK}}}'
CRASHES = f'leaseq_crashes_total{{kind="crash",{TASK}}}'
FENCED = f'leaseq_attempts_fenced_total{{queue="q",{WORKER}}}'
REDELIVERED = f'leaseq_tasks_redelivered_total{{queue="q",{REAPER}}}'
SILENT = f'leaseq_workers{{state="silent",{REAPER}}}'
BRAKED = f"leaseq_reaper_braked{{{REAPER}}}"
LATE = f"leaseq_schedule_overdue_seconds{{{REAPER}}}"
MISSED = f'leaseq_schedule_occurrences_total{{result="missed",{REAPER}}}'
LINE = f'leaseq_limit_oldest_seconds{{limit="l",{REAPER}}}'
BUSY = f"leaseq_slots_busy{{{WORKER}}}"
LAG = f"leaseq_loop_lag_seconds{{{WORKER}}}"
# One value a minute, in the notation of promtool.
CALM = {
    REAPED: "0+60x600",
    LEDGER: "1x600",
    DISPATCH: "1x600",
    OLDEST: "1x600",
    f'leaseq_queue_waiting{{queue="q",lane="normal",{REAPER}}}': "5x600",
    SERVED: "2x600",
    PAUSED: "0x600",
    OVERDUE: "0x600",
    f'leaseq_attempts_total{{outcome="succeeded",{TASK}}}': "0+60x600",
    ERRORED: "0+1x600",
    FAILED: "3x600",
    CRASHES: "1x600",
    FENCED: "4x600",
    REDELIVERED: "9x600",
    SILENT: "0x600",
    LATE: "0x600",
    MISSED: "3x600",
    LINE: "40x600",
    BRAKED: "0x600",
    BUSY: "10x600",
    f"leaseq_slots{{{WORKER}}}": "100x600",
    LAG: "0.01x600",
}
FIRING: dict[str, dict[str, str]] = {
    "LeaseqNoReaper": {REAPED: "0x600"},
    "LeaseqLedgerAway": {LEDGER: "0x600"},
    "LeaseqDispatchAway": {DISPATCH: "0x600"},
    "LeaseqQueueWaitsTooLong": {OLDEST: "400x600"},
    "LeaseqQueueUnserved": {SERVED: "0x600"},
    "LeaseqQueueGrows": {OLDEST: "0+60x600"},
    "LeaseqDuePastDue": {OVERDUE: "45x600"},
    "LeaseqScheduleOverdue": {LATE: "90x600"},
    "LeaseqScheduleMissed": {MISSED: "3+1x600"},
    "LeaseqLimitGrows": {LINE: "0+60x600"},
    "LeaseqFailingShare": {ERRORED: "0+60x600"},
    "LeaseqTasksFailed": {FAILED: "3+1x600"},
    "LeaseqPoisonTask": {CRASHES: "1+1x600"},
    "LeaseqFencedWrites": {FENCED: "4+1x600"},
    "LeaseqRedeliveriesTrickle": {REDELIVERED: "9+12x600"},
    "LeaseqWorkersSilent": {SILENT: "2x600"},
    "LeaseqReaperBraked": {BRAKED: "1x600"},
    "LeaseqSlotsFull": {BUSY: "100x600", OLDEST: "100x600"},
    "LeaseqLoopLag": {LAG: "2x600"},
    "LeaseqQueueForgotten": {PAUSED: "1x600"},
}
# The labels of a firing alert, where it has more than its severity.
LABELS = {
    "LeaseqLedgerAway": {"job": "r", "instance": "r1"},
    "LeaseqDispatchAway": {"job": "r", "instance": "r1"},
    "LeaseqQueueWaitsTooLong": {"queue": "q"},
    "LeaseqQueueUnserved": {"queue": "q"},
    "LeaseqQueueGrows": {"queue": "q", "job": "r", "instance": "r1"},
    "LeaseqDuePastDue": {"queue": "q"},
    "LeaseqLimitGrows": {"limit": "l", "job": "r", "instance": "r1"},
    "LeaseqFailingShare": {"type": "t"},
    "LeaseqTasksFailed": {"queue": "q", "type": "t"},
    "LeaseqPoisonTask": {"queue": "q", "type": "t"},
    "LeaseqFencedWrites": {"queue": "q"},
    "LeaseqLoopLag": {"job": "w", "instance": "w1"},
    "LeaseqQueueForgotten": {"queue": "q"},
}


def rules() -> dict[str, Any]:
    """The rules by the name of their alert."""
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def unknown(expression: str) -> set[str]:
    """The metrics in a query that no process exposes."""
    known = {
        name + suffix
        for name, metric in METRICS.items()
        for suffix in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",))
    }
    return set(NAME.findall(expression)) - known


def queries(node: Any) -> Iterator[str]:
    """Every query of a dashboard."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("expr", "query") and isinstance(value, str):
                yield value
            else:
                yield from queries(value)
    elif isinstance(node, list):
        for value in node:
            yield from queries(value)


def test_every_alert_is_about_metrics_that_exist() -> None:
    assert rules().keys() == FIRING.keys()
    assert {name: found for name, rule in rules().items() if (found := unknown(rule["expr"]))} == {}


def test_every_panel_is_about_metrics_that_exist() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = [each for each in queries(dashboard) if each != "prometheus"]
    assert len(found) > 40
    assert {each: missing for each in found if (missing := unknown(each))} == {}
    titles = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    assert titles == [
        *("Well?", "Queues", "Limits and schedules", "Types", "Fleet", "API", "Reaper", "Stores")
    ]


def test_each_alert_fires_on_its_series_and_none_on_calm_ones(tmp_path: Path) -> None:
    if PROMTOOL is None:
        pytest.skip("promtool of Debian's prometheus is not installed")
    tests = [_test(CALM, {name: [] for name in FIRING})]
    for name, changed in FIRING.items():
        tests.append(_test(CALM | changed, {name: [_expected(name)]}))
    file = tmp_path / "alerts.yml"
    content = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    ran = subprocess.run(
        [PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _test(series: dict[str, str], expected: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": "5h", "alertname": name, "exp_alerts": alerts}
            for name, alerts in expected.items()
        ],
    }


def _expected(name: str) -> dict[str, Any]:
    rule, labels = rules()[name], LABELS.get(name, {})
    summary = rule["annotations"]["summary"].replace("{{ $value }}", "2")
    for label, value in labels.items():
        summary = summary.replace(f"{{{{ $labels.{label} }}}}", value)
    return {"exp_labels": rule["labels"] | labels, "exp_annotations": {"summary": summary}}
