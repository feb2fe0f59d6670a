"""`leaseq replay`, and `--seen`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from support.cli import Command, Stage


def test_replay_prints_the_id_of_one_new_task(
    leaseq: Command, stage: Stage, tmp_path: Path
) -> None:
    original = stage.submit(payload=b'{"n":1}')
    file = tmp_path / "payload.json"
    file.write_text('{"n": 2}\n')
    first = leaseq("replay", original, "--payload", f"@{file}")
    assert first.exit_code == 0, first.stderr
    again = leaseq(
        "replay",
        original,
        "--payload",
        "-",
        stdin=b'{"n": 2}',
    )
    assert again.stdout == first.stdout
    assert "was replayed under this key before" in again.stderr
    shown = leaseq("replay", original, "--key", "mine", "--queue", "other", "--json")
    task = msgspec.json.decode(shown.stdout)
    assert (task["payload"], task["queue"], task["idempotency_key"]) == ({"n": 1}, "other", "mine")


def test_replay_says_why_a_payload_is_refused(
    leaseq: Command, stage: Stage, tmp_path: Path
) -> None:
    original = stage.submit()
    missing = leaseq("replay", original, "--payload", f"@{tmp_path / 'missing'}")
    assert missing.exit_code == 2
    assert "the payload cannot be read" in missing.stderr
    assert leaseq("replay", original, "--payload", "{").exit_code == 2
    assert leaseq("replay", "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6a7b").exit_code == 3


def test_seen_holds_a_change_back_when_the_task_has_moved_on(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit()
    refused = leaseq("cancel", task_id, "--seen", "PROCESSING/1")
    assert refused.exit_code == 5
    assert "is PENDING at attempt 0 now" in refused.stderr
    assert leaseq("cancel", task_id, "--seen", "PENDING/0").exit_code == 0
    assert leaseq("redrive", task_id, "--seen", "nothing").exit_code == 2
    assert leaseq("redrive", task_id, "--seen", "CANCELLED/0").exit_code == 0
