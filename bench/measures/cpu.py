"""The CPU cost of a task, by process.

It is the figure that carries over to another machine. The same work as for the rates, played again,
so that these stay short.
"""

from __future__ import annotations

from bench.figures import Reading
from bench.measures.drain import play_drain
from bench.measures.over_http import NAME, play_http
from bench.scale import Scale


async def cpu(scale: Scale) -> list[Reading]:
    """A drain by one process and by two, and everything from HTTP on."""
    readings = []
    for processes in (1, 2):
        drained = await play_drain(scale, processes=processes)
        readings += drained.meter.in_detail(drained.name, drained.metered)
    window = await play_http(scale)
    return [*readings, *window.meter.in_detail(NAME, window.accepted)]
