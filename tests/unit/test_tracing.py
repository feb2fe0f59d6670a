"""Whether a process traces, and how it ends."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from leaseq.config import Config
from leaseq.model import DEFAULT_TENANT
from leaseq.observability import spans as module
from leaseq.observability.tracing import find_tracing
from leaseq.operations.submission import Request, accept
from support.spans import collecting

WITHOUT_THE_PACKAGE = """
import sys
sys.modules["opentelemetry"] = None
import leaseq.app, leaseq.cli, leaseq.worker.child, leaseq_api.app, leaseq_reaper.sidecar
from leaseq.config import Config
from leaseq.observability.tracing import find_tracing
assert find_tracing(Config()) is None
print("leaseq.observability.spans" in sys.modules)
"""


def test_everything_runs_without_the_package() -> None:
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PACKAGE], check=True, capture_output=True, text=True
    )
    assert found.stdout == "False\n"


def test_a_process_traces_only_with_a_provider() -> None:
    assert find_tracing(Config()) is None
    with collecting():
        assert find_tracing(Config()) is not None


def test_a_provider_that_is_turned_off_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with collecting():
        assert find_tracing(Config()) is None


async def test_an_export_that_hangs_does_not_keep_a_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.05)
    over = threading.Event()
    with collecting() as spans:
        monkeypatch.setattr(spans.provider, "force_flush", lambda _: over.wait(60))
        tracing = find_tracing(Config())
        assert tracing is not None
        await tracing.close()
        assert not over.is_set()
        over.set()
    assert "provider of OpenTelemetry failed" in caplog.text


def test_a_submission_outside_of_a_span_begins_a_trace() -> None:
    submission = accept(Request(type="charge", payload=b"{}"), Config(), tenant=DEFAULT_TENANT)
    with collecting() as spans:
        tracing = find_tracing(Config())
        assert tracing is not None
        with tracing.submitting([submission]) as span:
            (carried,) = span.carried()
    assert spans.one("submit default").parent is None
    assert carried.headers is not None
    assert submission.headers is None
