"""All measurements by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import Struct

from bench.figures import Reading
from bench.measures.authentication import authentication
from bench.measures.backlog import backlog
from bench.measures.batches import batches
from bench.measures.cpu import cpu
from bench.measures.deep import aged, deep
from bench.measures.drain import drain
from bench.measures.due import due
from bench.measures.following import following
from bench.measures.kill_many import kill_many
from bench.measures.killed_child import killed_child
from bench.measures.latency import latency
from bench.measures.lost_worker import lost_worker
from bench.measures.memory import memory
from bench.measures.names import names
from bench.measures.over_http import over_http
from bench.measures.overload import overload
from bench.measures.pages import pages
from bench.measures.pruning import pruning
from bench.measures.quotas import quotas
from bench.measures.shedding import shed
from bench.measures.submitting import submitting
from bench.measures.watching import watching
from bench.scale import Scale

Play = Callable[[Scale], Awaitable[list[Reading]]]


class Measurement(Struct, frozen=True):
    """One measurement: its name on the command line, one play of it, and whether it repeats within
    one play (kill after kill).

    `quick` is False for what waits long, or asks others once more, and has a neighbour that shows
    as well whether it works.
    """

    name: str
    play: Play
    repeats: bool = False
    quick: bool = True


MEASUREMENTS = [
    Measurement("drain-1", partial(drain, processes=1)),
    Measurement("drain-2", partial(drain, processes=2)),
    Measurement("submit", submitting),
    Measurement("http", over_http),
    Measurement("auth", authentication, repeats=True),
    Measurement("quota", quotas),
    Measurement("batch", batches),
    Measurement("watch", watching, repeats=True),
    Measurement("cpu", cpu, quick=False),
    Measurement("latency", latency),
    Measurement("kill-1", partial(killed_child, processes=1), repeats=True),
    Measurement("kill-2", partial(killed_child, processes=2), repeats=True),
    Measurement("kill-many", kill_many, repeats=True),
    Measurement(
        "lost",
        partial(lost_worker, lease_seconds=10.0, heartbeat_seconds=2.0),
        repeats=True,
        quick=False,
    ),
    Measurement(
        "lost-short", partial(lost_worker, lease_seconds=2.0, heartbeat_seconds=0.5), repeats=True
    ),
    Measurement("deep", deep, repeats=True),
    Measurement("aged", aged, repeats=True),
    Measurement("backlog", backlog),
    Measurement("due", due),
    Measurement("prune", pruning),
    Measurement("memory", memory),
    Measurement("overload", overload),
    Measurement("follow", following),
    Measurement("shed", shed, quick=False),
    Measurement("names", names, repeats=True, quick=False),
    Measurement("pages", pages, repeats=True, quick=False),
]
