"""Check a payload at submission, with the same rules for HTTP, Python and the CLI.

The check decodes the payload as a worker does. Python has the handler itself. The API and the
command line have the shapes that workers registered (`shapes.py`). During a deploy several shapes
are live, and a payload that fits one of them is accepted.

A task carries the stamp of the shape that accepted its payload. A worker that cannot decode the
payload compares the stamp with its own. If they differ, the payload is for another version of the
handler, and the worker hands the task back (docs/decisions/0031-one-check-for-payloads.md).

Refusing costs no more than accepting: msgspec stops at the first value that does not fit. A message
is short and quotes no value of the payload.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import msgspec

from leaseq.errors import PayloadInvalid, PayloadNotEncoded
from leaseq.model import TypeDefaults
from leaseq.payloads.payload_codec import envelope_in

MESSAGE_LIMIT = 300
STAMP_HEADER = "shape"

_QUOTED = re.compile(r"^(Invalid (?:enum )?value) .*?((?: - at `[^`]*`)?)$", re.DOTALL)
_PATH = re.compile(r"`\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[([0-9]+)\]")

Decode = Callable[[bytes], Any]


class KnownType:
    """A task type: defaults for its submissions, and the payloads that it accepts.

    `decoders` holds a stamp and a decoder for each live shape, the newest first. Without any, every
    payload is accepted. The stamp is empty for a shape that does not come from a worker. `whole`
    means that a payload comes from the encoder of msgspec and that the decoder examines every value
    in it, so it is valid JSON. `encoded` means that the app of the type encodes its payloads:
    nothing but an envelope is accepted. `takes_envelopes` means that some live version of it does:
    an envelope is accepted, and not checked further.
    """

    def __init__(
        self,
        defaults: TypeDefaults,
        decoders: Sequence[tuple[str, Decode]] = (),
        *,
        whole: bool = False,
        encoded: bool = False,
        takes_envelopes: bool = False,
    ) -> None:
        self.defaults = defaults
        self.whole = whole
        self._is_encoded = encoded
        self._takes_envelopes = takes_envelopes
        self._decoders = [(decode, _headers(stamp)) for stamp, decode in decoders]

    def check(self, payload: bytes) -> bytes | None:
        """Check a payload. Returns the headers of the task, with the stamp of the shape that fits.

        Raises `PayloadInvalid`, with a JSON pointer into the payload.
        """
        if self._takes_envelopes and envelope_in(payload) is not None:
            return None
        if self._is_encoded:
            raise PayloadNotEncoded
        error: Exception | None = None
        for decode, headers in self._decoders:
            try:
                decode(payload)
            except Exception as raised:
                error = error or raised
            else:
                return headers
        if error is not None:
            _refuse(error, payload)
        return None


def _headers(stamp: str) -> bytes | None:
    return msgspec.json.encode({STAMP_HEADER: stamp}) if stamp else None


def stamp_in(headers: bytes | None) -> str | None:
    """The stamp that a task carries; None if its payload was not checked."""
    found = msgspec.json.decode(headers) if headers else None
    return found.get(STAMP_HEADER) if isinstance(found, dict) else None


def _refuse(error: Exception, payload: bytes) -> NoReturn:
    message = str(error)
    if len(message) > 2 * MESSAGE_LIMIT:  # it may quote a value of a megabyte before the path
        message = f"{message[:MESSAGE_LIMIT]}...{message[-MESSAGE_LIMIT:]}"
    path = _PATH.search(message)
    if not isinstance(error, msgspec.ValidationError):
        message = f"{type(error).__name__}: {message}"
    message = _QUOTED.sub(r"\1\2", message)
    if len(message) > MESSAGE_LIMIT:
        message = message[:MESSAGE_LIMIT] + "..."
    raise PayloadInvalid(message, pointer=_pointer(path[1] if path else "", payload)) from None


def _pointer(path: str, payload: bytes) -> str:
    """A JSON pointer (RFC 6901) to the value in a payload that a msgspec path names.

    The path does not name the keys of a dict, so the pointer then leads to the dict.
    """
    pointer, position = "", 0
    try:
        content: Any = msgspec.json.decode(payload) if path else None
    except msgspec.DecodeError:
        return ""
    while step := _STEP.match(path, position):
        name, index = step.groups()
        key = name if index is None else int(index)
        try:
            content = content[key]
        except (LookupError, TypeError):
            break
        pointer += "/" + str(key).replace("~", "~0").replace("/", "~1")
        position = step.end()
    return pointer


__all__ = ["Decode", "KnownType", "stamp_in"]
