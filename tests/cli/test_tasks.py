"""The commands about tasks and queues, on real stores."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from leaseq.codec import is_task_id
from leaseq.config import Config
from leaseq.ledger.task_lists import TaskFilter
from leaseq.ledger.task_types import TaskType
from leaseq.model import DEFAULT_TENANT, State
from leaseq.operations.engine import Engine
from leaseq.payloads.shapes import shape_of
from support.cli import Command, Stage
from support.servers import free_port

NOBODY = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6a7b"


def test_submit_prints_the_id_alone(leaseq: Command, stage: Stage) -> None:
    result = leaseq("submit", "add", '{"n": 1}', "--priority", "high", "--queue", "side")
    assert result.exit_code == 0
    task_id = result.stdout.strip()
    assert is_task_id(task_id)
    assert "no worker has registered the task type add" in result.stderr
    task = stage.do(lambda engine: engine.for_tenant(DEFAULT_TENANT).find(task_id))
    assert (task.queue, task.priority, task.payload, task.state) == (
        "side",
        1,
        b'{"n": 1}',
        State.PENDING,
    )
    depths = stage.do(lambda engine: engine.stores.lists.depths("side"))
    assert (depths.high, depths.normal) == (1, 1), (
        "it was pushed, with a token on the doorbell, before the command ended"
    )


def test_submit_takes_the_queue_of_the_type_and_reads_standard_input(
    leaseq: Command, stage: Stage
) -> None:
    stage.do(
        lambda engine: engine.stores.task_types.register_types([TaskType("add", "sums", b"{}")])
    )
    result = leaseq("submit", "add", "-", "--json", "--delay", "60", stdin=b' {"n": "\xc3\xa9"}\n')
    assert (result.exit_code, result.stderr) == (0, "")
    said = msgspec.json.decode(result.stdout)
    assert (said["queue"], said["state"]) == ("sums", "SCHEDULED")
    task = stage.do(lambda engine: engine.for_tenant(DEFAULT_TENANT).find(said["task_id"]))
    assert task.payload == '{"n": "é"}'.encode()


def test_submit_takes_the_limits_of_the_handler(leaseq: Command, stage: Stage) -> None:
    stage.do(
        lambda engine: engine.stores.task_types.register_types(
            [TaskType("add", "sums", b"{}", 2, 30.0)]
        )
    )
    task_id = leaseq("submit", "add").stdout.strip()
    task = stage.do(lambda engine: engine.for_tenant(DEFAULT_TENANT).find(task_id))
    assert (task.queue, task.max_attempts, task.timeout_seconds) == ("sums", 2, 30.0)


class Sum(msgspec.Struct, forbid_unknown_fields=True):
    n: int


@pytest.mark.parametrize("payload", ['{"n": 1.0}', '{"n": "1"}', "{}", '{"n": 1, "m": 1}', "[]"])
def test_submit_refuses_a_payload_that_no_worker_could_decode(
    leaseq: Command, stage: Stage, payload: str
) -> None:
    stage.do(
        lambda engine: engine.stores.task_types.register_types(
            [TaskType("add", "sums", shape_of(Sum))]
        )
    )
    result = leaseq("submit", "add", payload)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert (
        stage.do(
            lambda engine: engine.for_tenant(DEFAULT_TENANT).list_tasks(TaskFilter(limit=1))
        ).tasks
        == []
    )
    assert leaseq("submit", "add", '{"n": 1}').exit_code == 0


def test_tasks_are_found_by_their_labels(leaseq: Command) -> None:
    labels = ("--label", "account=42", "--label", "note=a=b")
    mine = leaseq("submit", "add", *labels).stdout.strip()
    other = leaseq("submit", "add", "--label", "account=42").stdout.strip()
    leaseq("submit", "add")
    shown = json.loads(leaseq("show", mine, "--json").stdout)
    assert shown["labels"] == {"account": "42", "note": "a=b"}
    for given, found in ((labels[:2], [other, mine]), (labels, [mine])):
        listed = json.loads(leaseq("list", "--json", *given).stdout)
        assert [task["task_id"] for task in listed["tasks"]] == found


@pytest.mark.parametrize("command", ["list", "submit add"])
@pytest.mark.parametrize("label", ["account", "=42", "account=", "a b=1", "account=\ud800"])
def test_a_label_that_cannot_be_is_refused(leaseq: Command, command: str, label: str) -> None:
    result = leaseq(*command.split(), "--label", label)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)


def test_submit_with_a_key_again_is_the_same_task(leaseq: Command) -> None:
    first = leaseq("submit", "add", "--key", "k")
    again = leaseq("submit", "add", "--key", "k")
    assert first.stdout == again.stdout
    assert "a task with this key already exists" in again.stderr
    other = leaseq("submit", "add", "[1]", "--key", "k")
    assert (other.exit_code, other.stdout) == (5, "")
    assert "choose another --key" in other.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["add", "{nonsense"], "not valid JSON"),
        (["add", "{}", "--delay", "-1"], "delay_seconds"),
        (["add", "{}", "--key", ""], "idempotency key"),
        (["no way"], "not a name"),
    ],
)
def test_submit_refuses_in_one_line(leaseq: Command, args: list[str], said: str) -> None:
    result = leaseq("submit", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr.splitlines()[-1]


def test_submit_of_an_unknown_type_is_refused_where_types_are_strict(leaseq: Command) -> None:
    result = leaseq("submit", "nosuch", LEASEQ_STRICT_TYPES="true")
    assert result.exit_code == 2
    assert result.stderr.startswith("leaseq: no worker has registered the task type nosuch")


def test_submit_is_recorded_while_redis_is_away(leaseq: Command, stage: Stage) -> None:
    result = leaseq("submit", "add", LEASEQ_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert result.exit_code == 0
    assert "Redis does not answer" in result.stderr
    assert (
        stage.do(lambda engine: engine.for_tenant(DEFAULT_TENANT).find(result.stdout.strip())).state
        is State.PENDING
    )


def test_wait_tells_the_result_the_failure_and_the_time(leaseq: Command, stage: Stage) -> None:
    worker = stage.open_worker()
    good, bad, slow = stage.submit(), stage.submit(), stage.submit()
    stage.succeed(stage.claim(good, worker))
    stage.fail(stage.claim(bad, worker), "out of\ncards \x1b[31m")
    done = leaseq("wait", good.upper())
    assert (done.exit_code, done.stdout) == (0, '{"sum":42}\n')
    failed = leaseq("wait", bad)
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert (
        failed.stderr == f"leaseq: task {bad} ended in FAILED: ValueError: out of cards \\x1b[31m\n"
    )
    late = leaseq("wait", slow, "--timeout", "0.05")
    assert (late.exit_code, late.stdout) == (124, "")
    assert f"{slow} is still PENDING" in late.stderr
    as_json = leaseq("wait", bad, "--json")
    assert as_json.exit_code == 1
    assert msgspec.json.decode(as_json.stdout)["error"]["message"] == "out of\ncards \x1b[31m"


def test_submit_and_wait_in_one(leaseq: Command) -> None:
    result = leaseq("submit", "add", "--wait", "--timeout", "0.05")
    assert result.exit_code == 124
    assert is_task_id(result.stdout.strip()), "the id is known however the wait goes"


@pytest.mark.parametrize("command", ["show", "wait", "cancel", "redrive", "erase", "free-key"])
def test_there_is_no_such_task(leaseq: Command, command: str) -> None:
    result = leaseq(command, NOBODY)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"leaseq: there is no task {NOBODY}: ")
    assert len(result.stderr.splitlines()) == 1
    assert leaseq(command, "17").exit_code == 2


def test_a_task_of_another_tenant_is_no_task(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit(tenant="acme")
    assert leaseq("show", task_id).exit_code == 3
    assert leaseq("show", task_id, "--tenant", "acme").exit_code == 0


def test_show_follows_a_delivery(leaseq: Command, stage: Stage) -> None:
    worker = stage.open_worker()
    task_id = stage.submit(payload=b'{"name": "\\u001b[31m"}')
    long = {"LEASEQ_LEASE_SECONDS": "600"}  # no heartbeat renews it
    assert "in lane normal of queue default" in leaseq("show", task_id, **long).stdout
    assert stage.pull("default", worker) == [task_id]
    assert (
        f"was taken by worker {worker[:12]} (here, supervisor 77)"
        in leaseq("show", task_id, **long).stdout
    )
    lease = stage.claim(task_id, worker)
    running = leaseq("show", task_id, **long)
    assert f"{task_id} PROCESSING" in running.stdout
    assert f"runs on worker {worker[:12]} (here, supervisor 77), as attempt 1." in running.stdout
    stage.fail(lease, "no cards \x1b[31m left")
    story = leaseq("show", task_id).stdout
    assert "attempt 1 failed after" in story
    assert "ValueError: no cards \\x1b[31m left; not to be retried" in story
    assert "  Traceback ..." in story
    assert "\x1b" not in story
    assert re.search(r"^payload +\{\"name\":\"\\u001b\[31m\"\}$", story, re.MULTILINE)


def test_show_for_scripts(leaseq: Command, stage: Stage) -> None:
    worker = stage.open_worker()
    task_id = stage.submit(idempotency_key="k")
    stage.fail(stage.claim(task_id, worker), "again", then=State.SCHEDULED)
    said = msgspec.json.decode(leaseq("show", task_id, "--json", "--story").stdout)
    task = said["task"]
    assert (task["task_id"], task["state"], task["priority"], task["payload"]) == (
        task_id,
        "SCHEDULED",
        "normal",
        {"n": 1},
    )
    assert [(a["attempt"], a["outcome"], a["error"]["message"]) for a in said["attempts"]] == [
        (1, "errored", "again")
    ]
    assert said["delivery"] == {"lanes": ["normal"], "workers": [], "backlog_since": None}, (
        "this worker never pulled it"
    )
    assert said["queue_workers"] == [worker]
    assert task["tenant"] == "default"
    assert msgspec.json.decode(leaseq("show", task_id, "--json").stdout) == task
    assert leaseq("show", task_id, "--story").exit_code == 2


def test_show_while_redis_is_away(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit()
    away = {"LEASEQ_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    result = leaseq("show", task_id, **away)
    assert result.exit_code == 0
    assert "Redis does not answer" in result.stdout
    assert (
        msgspec.json.decode(leaseq("show", task_id, "--json", "--story", **away).stdout)["delivery"]
        is None
    )


def test_list_filters_and_keeps_one_row_a_line(leaseq: Command, stage: Stage) -> None:
    worker = stage.open_worker()
    old, new = stage.submit("add"), stage.submit("mul", queue="side")
    stage.fail(stage.claim(old, worker), "very " * 40 + "wrong")
    lines = leaseq("list").stdout.splitlines()
    assert lines[0].split() == [
        "ID",
        "STATE",
        "TYPE",
        "QUEUE",
        "ATTEMPT",
        "SUBMITTED",
        "ENDED",
        "ERROR",
    ]
    assert [line.split()[:4] for line in lines[1:]] == [
        [new, "PENDING", "mul", "side"],
        [old, "FAILED", "add", "default"],
    ]
    assert lines[2].endswith("...")
    assert leaseq("list", "--state", "failed").stdout.splitlines()[1].startswith(old)
    (listed,) = msgspec.json.decode(leaseq("list", "--queue", "side", "--json").stdout)["tasks"]
    assert listed["task_id"] == new
    assert not {"payload", "result"} & set(listed)
    assert leaseq("list", "--type", "nosuch").stdout == ""
    assert len(leaseq("list", "--limit", "1").stdout.splitlines()) == 2
    page = msgspec.json.decode(leaseq("list", "--limit", "1", "--json").stdout)
    assert ([task["task_id"] for task in page["tasks"]], page["next_cursor"]) == ([new], new)
    page = msgspec.json.decode(leaseq("list", "--limit", "1", "--cursor", new, "--json").stdout)
    assert ([task["task_id"] for task in page["tasks"]], page["next_cursor"]) == ([old], None)


def test_cancel_and_redrive(leaseq: Command, stage: Stage) -> None:
    worker = stage.open_worker()
    waiting, running = stage.submit(), stage.submit()
    stage.claim(running, worker)
    assert leaseq("cancel", waiting).stdout == f"{waiting} is CANCELLED\n"
    assert "its worker was asked to stop" in leaseq("cancel", running).stdout
    assert "cancellation was requested" in leaseq("show", running).stdout
    refused = leaseq("redrive", running)
    assert refused.exit_code == 5
    assert "only FAILED and CANCELLED" in refused.stderr
    assert leaseq("redrive", waiting).stdout == f"{waiting} is SCHEDULED in queue default\n"


def test_queues_are_listed_paused_and_resumed(leaseq: Command, stage: Stage) -> None:
    stage.submit(priority="low")
    pause = ("queues", "pause", "default", "--reason", "the bank is away")
    assert leaseq(*pause).stdout == "queue default is paused\n"
    lines = leaseq("queues").stdout.splitlines()
    assert lines[0].split() == [
        "QUEUE",
        "STATE",
        "HIGH",
        "NORMAL",
        "LOW",
        "SUSPECT",
        "PARKED",
        "MORE",
        *("SINCE", "OLDEST", "PAUSED", "BY"),
    ]
    row = lines[1].split()
    assert row[:8] == ["default", "paused", "0", "1", "1", "0", "0", "-"]
    assert row[8].startswith("20")
    assert "command line" in lines[1]
    assert lines[1].endswith(": the bank is away")
    (queue,) = msgspec.json.decode(leaseq("queues", "--json").stdout)["queues"]
    assert (queue["name"], queue["paused"], queue["depths"]["low"]) == ("default", True, 1)
    assert leaseq("queues", "resume", "default").stdout == "queue default is open\n"
    assert "was not known before" in leaseq("queues", "pause", "defualt").stderr


def test_tasks_waiting_in_the_ledger_are_reported(leaseq: Command, stage: Stage) -> None:
    ids = [leaseq("submit", "add", LEASEQ_DISPATCH_WINDOW="10").stdout.strip() for _ in range(11)]
    row = leaseq("queues").stdout.splitlines()[1].split()
    assert row[:7] == ["default", "open", "0", "10", "0", "0", "0"]
    assert row[7].startswith("20")
    shown = msgspec.json.decode(leaseq("show", ids[-1], "--json", "--story").stdout)
    assert shown["delivery"]["lanes"] == shown["delivery"]["workers"] == []
    assert shown["delivery"]["backlog_since"]
    stage.open_worker()
    long = {"LEASEQ_LEASE_SECONDS": "600"}
    assert "waits in the ledger" in leaseq("show", ids[-1], **long).stdout
    assert "waits in the ledger" not in leaseq("show", ids[0], **long).stdout


def test_queues_are_listed_while_redis_is_away(leaseq: Command, stage: Stage) -> None:
    stage.submit()
    result = leaseq("queues", LEASEQ_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert result.stdout.splitlines()[1].split() == [
        "default",
        "open",
        *["-"] * 8,
    ]
    assert "Redis does not answer" in result.stderr


def test_services_are_listed_below_the_workers(leaseq: Command, stage: Stage) -> None:
    assert "no supervisor, reaper or API" in leaseq("workers", "--services").stderr
    worker = stage.open_worker()

    async def announce(engine: Engine) -> None:
        services = engine.stores.services
        for role in ("reaper", "supervisor"):
            await services.announce(
                role, role, process=("ant", 7, "9.9"), beat_seconds=10.0, detail={"slots": 4}
            )
        await services.end("supervisor")

    stage.do(announce)
    lines = leaseq("workers").stdout.splitlines()
    assert lines[1].startswith(worker)
    assert lines[3].split()[:4] == ["SERVICE", "HOST", "PID", "VERSION"]
    assert lines[4].split()[:4] == ["reaper", "ant", "7", "9.9"]
    assert lines[4].split()[-2:] == ["runs", '{"slots":4}']
    assert "stopped" in lines[5]
    alone = leaseq("workers", "--services").stdout.splitlines()
    assert [line.split()[0] for line in alone] == ["SERVICE", "reaper", "supervisor"]
    found = msgspec.json.decode(leaseq("workers", "--services", "--json").stdout)["services"]
    assert [(each["role"], each["alive"]) for each in found] == [
        ("reaper", True),
        ("supervisor", False),
    ]
    assert "workers" in msgspec.json.decode(leaseq("workers", "--json").stdout)


def test_labels_are_shown(leaseq: Command, stage: Stage) -> None:
    task_id = stage.submit(labels={"release": "7", "account": "42"})
    assert "labels    account=42  release=7\n" in leaseq("show", task_id).stdout
    assert "labels" not in leaseq("show", stage.submit()).stdout


def test_workers_are_listed(leaseq: Command, stage: Stage) -> None:
    assert "no worker is running" in leaseq("workers").stderr
    worker = stage.open_worker(queues=("billing", "default"))
    lines = leaseq("workers").stdout.splitlines()
    assert lines[1].split()[:5] == [worker, "here", "77", "billing,default", "9.9"]
    stage.do(lambda engine: engine.stores.workers.close_worker(worker, reason="drained"))
    assert leaseq("workers").stdout == ""
    assert leaseq("workers", "--all").stdout.rstrip().endswith("drained")
    (record,) = msgspec.json.decode(leaseq("workers", "--all", "--json").stdout)["workers"]
    assert (record["worker_id"], record["close_reason"]) == (worker, "drained")


def test_a_command_says_which_server_is_away(leaseq: Command) -> None:
    result = leaseq(
        "list", LEASEQ_POSTGRES_URL=f"postgresql://127.0.0.1:{free_port()}/x?password=secret"
    )
    assert (result.exit_code, result.stdout) == (4, "")
    assert len(result.stderr.splitlines()) == 1
    assert "leaseq check" in result.stderr
    assert "secret" not in result.stderr


def test_a_question_makes_no_servers(
    config: Config, leaseq: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LEASEQ_POSTGRES_URL", "LEASEQ_HANDLER_POSTGRES_URL", "LEASEQ_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    result = leaseq(
        "list", LEASEQ_POSTGRES_URL=None, LEASEQ_HANDLER_POSTGRES_URL=None, LEASEQ_REDIS_URL=None
    )
    assert result.exit_code == 2
    assert "leaseq dev" in result.stderr
    assert not config.data_dir.exists()


def test_erase_goes_on_behind_a_refusal(leaseq: Command, stage: Stage) -> None:
    worker = stage.open_worker()
    good, waits = stage.submit(payload=b'{"to": "ada"}'), stage.submit()
    stage.succeed(stage.claim(good, worker))

    result = leaseq("erase", waits, NOBODY, good)

    assert (result.exit_code, result.stdout) == (5, f"{good} is SUCCESS and erased\n")
    first, second = result.stderr.splitlines()
    assert first.startswith(f"leaseq: task {waits} is PENDING; only a task that has ended")
    assert second.startswith(f"leaseq: there is no task {NOBODY}")
    assert (
        "payload, result, error, progress and attempts were erased" in leaseq("show", good).stdout
    )
    waited = leaseq("wait", good)
    assert (waited.exit_code, waited.stdout) == (0, "")
    assert waited.stderr == f"leaseq: task {good} ended in SUCCESS, and was erased since\n"
    said = msgspec.json.decode(leaseq("erase", good, "--json").stdout)
    assert said["erased_at"]
    assert "payload" not in said


def test_free_key_lets_a_key_stand_for_another_task(leaseq: Command, stage: Stage) -> None:
    first = leaseq("submit", "add", "--key", "order-1").stdout.strip()
    refused = leaseq("free-key", first)
    assert refused.exit_code == 5
    assert "is PENDING; only the key of a FAILED or CANCELLED task" in refused.stderr
    leaseq("cancel", first)

    result = leaseq("free-key", first)

    assert (result.exit_code, result.stdout) == (
        0,
        f"the idempotency key order-1 of {first} is free\n",
    )
    second = leaseq("submit", "add", "--key", "order-1").stdout.strip()
    assert second != first
    assert "its idempotency key was freed" in leaseq("show", first).stdout
    assert leaseq("redrive", first).exit_code == 5
    assert msgspec.json.decode(leaseq("free-key", first, "--json").stdout)["key_freed_at"]
