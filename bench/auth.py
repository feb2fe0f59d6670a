"""API processes without API keys and with them, for the same work in one run.

A figure of a process that asks for a key has `WITH_KEY` in its name. Otherwise it is called as the
figure without.
"""

from __future__ import annotations

from bench.stage import Api, Stage

WITH_KEY = ", with a key"
# The value of api_auth for each addition to the names of figures.
MODES = {"": "off", WITH_KEY: "keys"}


async def open_apis(stage: Stage) -> dict[str, Api]:
    """Start one API process of each mode on the same servers."""
    return {suffix: await stage.api(auth=mode) for suffix, mode in MODES.items()}


__all__ = ["MODES", "WITH_KEY", "open_apis"]
