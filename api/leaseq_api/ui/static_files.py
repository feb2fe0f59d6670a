"""The script, the style and the library of the dashboard, from memory.

Their address changes with their content, so a browser loads them once. They are compressed at the
first request, and from then on an answer costs no file and no compression.
"""

from __future__ import annotations

import gzip
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import PathParameter
from msgspec import Struct

from leaseq_api.refused import Refused
from leaseq_api.ui.answer import HEADERS, ROOT

Mark = Annotated[str, PathParameter(description="A mark of the content of all files")]
Asset = Annotated[str, PathParameter(description="The name of a file")]

CACHING = "public, max-age=31536000, immutable"
_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "txt": "text/plain"}
# Those of deploy/vendored.toml, and ours.
VENDORED = ("LICENSE.txt", "idiomorph.min.js")
OWN = ("icon.svg", "keys.js", "live.js", "style.css", "theme.js")


class File(Struct, frozen=True):
    """One file, as it is sent."""

    media_type: str
    plain: bytes
    packed: bytes


@cache
def static_files() -> dict[str, File]:
    """Every file by its name."""
    found = {}
    for folder, names in (("vendor", VENDORED), ("static", OWN)):
        for name in names:
            plain = (files("leaseq_api") / "ui" / folder / name).read_bytes()
            kind = _TYPES[name.rpartition(".")[2]]
            found[name] = File(kind, plain, gzip.compress(plain, 9, mtime=0))
    return found


@cache
def content_mark() -> str:
    """A mark that changes with the content of any file."""
    digests = (sha256(each.plain).digest() for each in static_files().values())
    return sha256(b"".join(digests)).hexdigest()[:16]


def address_of(name: str) -> str:
    """The address of a file."""
    if name not in static_files():
        raise LookupError(name)
    return f"{ROOT}/static/{content_mark()}/{name}"


@get("/static/{mark:str}/{asset:str}", scope=None, include_in_schema=False)
async def show_file(request: Request[Any, Any, Any], mark: Mark, asset: Asset) -> Response[bytes]:
    """Show a file. With another mark the page is from a process of another version: the file of this
    one may do, and a browser must not keep it."""
    file = static_files().get(asset)
    if file is None:
        raise Refused("not_found", "the dashboard has no such file")
    headers = HEADERS | {"Vary": "Accept-Encoding"}
    if mark == content_mark():
        headers["Cache-Control"] = CACHING
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.packed, media_type=file.media_type, headers=headers)
    return Response(file.plain, media_type=file.media_type, headers=headers)


__all__ = ["CACHING", "OWN", "VENDORED", "address_of", "content_mark", "show_file", "static_files"]
