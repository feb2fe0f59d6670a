"""The effect of signals, and of the end of standard input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from leaseq.cli.signals import NUMBERS, signal_gate


@pytest.mark.parametrize(("unfinished", "code"), [(False, 0), (True, 128 + signal.SIGTERM)])
def test_a_signal_waits_for_the_gate_to_open(unfinished: bool, code: int) -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with signal_gate(unfinished=unfinished) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit) as ended:
            signals.open()
    assert ended.value.code == code
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_a_signal_counts_at_once_while_the_gate_is_open_and_not_after() -> None:
    with signal_gate() as signals:
        signals.open()
        with pytest.raises(SystemExit):
            os.kill(os.getpid(), signal.SIGINT)
        signals.close()
        os.kill(os.getpid(), signal.SIGINT)


def test_closing_takes_the_signals_back() -> None:
    with signal_gate() as signals:
        signals.open()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what an event loop leaves behind
        signals.close()
        os.kill(os.getpid(), signal.SIGTERM)


WATCHER = """
import signal
from leaseq.cli.signals import stop_at_eof
stop_at_eof()
print("watching", flush=True)
signal.pause()
"""


def test_the_end_of_standard_input_is_a_sigterm() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WATCHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"watching\n"
            process.stdin.write(b"what comes in is of no interest")
            process.stdin.flush()
            assert process.poll() is None
            process.stdin.close()
            assert process.wait(timeout=60) == -signal.SIGTERM
        finally:
            process.kill()
