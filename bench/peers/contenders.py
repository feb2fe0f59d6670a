"""The contenders of `contenders.toml`, and the settings that they need."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from bench.peers.environments import Environment

LIST = Path(__file__).with_suffix(".toml")


class Contender(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One task queue in one way of running it.

    `environment`: names its requirements, and its module in `sides/`. `tasks`: how many are
    drained, from its speed, for some seconds of work. `slots`: how many a worker runs at a time.
    `pace_seconds`: from one task to the next on an idle system. `worker`, `companion`: command
    lines in its environment (without one its module runs the worker); `{slots}` stands for a
    number. `env`: more variables, in which `{postgres}` and `{valkey}` stand for URLs. Settings
    that begin with `reliable` are added in the second half of the crash comparison; no reliable
    settings are documented where `reliable` is empty. `bulk`: the documented call that submits
    many. `limit`: how the number of tasks that run at the same time in all workers is limited
    (empty: it is not), `limit_tasks`: how many are done under it, `keys`: whether keys have limits
    of their own.
    """

    name: str
    environment: str
    stores: tuple[str, ...]
    tasks: int
    slots: int
    settings: str
    reliable: str
    bulk: str = ""
    limit: str = ""
    limit_tasks: int = 0
    keys: bool = False
    crash_slots: int = 2
    pace_seconds: float = 0.02
    worker: tuple[str, ...] = ()
    companion: tuple[str, ...] = ()
    env: dict[str, str] = {}
    reliable_options: tuple[str, ...] = ()
    reliable_env: dict[str, str] = {}

    @property
    def module(self) -> str:
        """Our own packages in its environment."""
        return f"bench.peers.sides.on_{self.environment}"

    @property
    def pins(self) -> list[str]:
        return Environment(self.environment).pins


class _List(Struct, forbid_unknown_fields=True):
    contender: list[Contender]


CONTENDERS = msgspec.toml.decode(LIST.read_bytes(), type=_List).contender
NAMES = [contender.name for contender in CONTENDERS]
