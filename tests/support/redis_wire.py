"""Read the commands that a client of Redis sends, for servers that a test plays."""

from __future__ import annotations

import asyncio


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """The words of the next command; none at the end of the connection."""
    words = []
    header = await reader.readline()
    for _ in range(int(header[1:] or 0)):
        size = int((await reader.readline())[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words
