"""Encode contents before they reach the stores, with the codec of an app.

An app with a codec keeps its contents (payload, result, progress, and message and traceback of an
error) from everything outside the app: the ledger, the API and its operators see an envelope with
bytes that only the codec can read. The envelope is JSON, because the columns are. The version in it
is that of the envelope. Versions of keys are the codec's own matter, inside its bytes.

Content without an envelope is read as it is: it was recorded before the app had a codec.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from leaseq.errors import CodecMismatch
from leaseq.model import Task, TaskError
from leaseq.safe_text.exceptions import name_of
from leaseq.safe_text.fingerprint import of_code

VERSION = "v1"
ENCODED = "encoded by the codec of the app"
# Every envelope that leaseq writes begins with these bytes. Clients over HTTP may write it otherwise.
BEGINNING = b'{"leaseq_codec":'
# Codes of errors whose message leaseq writes, without a word of the client or the handler.
OWN_CODES = frozenset(
    {
        "cancelled",
        "crashed",
        "expired",
        "isolated",
        "released",
        "starved",
        "timeout",
        "unknown_type",
    }
)


class PayloadCodec(Protocol):
    """The argument of `Leaseq(codec=...)`: a cipher, mostly.

    All methods are called in the event loop and must not wait for a network. A codec that knows
    several versions of its key encodes with the newest, and writes into the bytes which one that
    was.
    """

    def encode(self, data: bytes) -> bytes:
        """Encode a content."""

    def decode(self, data: bytes) -> bytes:
        """The content of encoded bytes. Raises any exception for bytes that it cannot read."""

    def fingerprint(self, data: bytes) -> bytes:
        """A keyed hash, for example HMAC-SHA256: the same for the same data, also after a change of
        the keys of `encode`. It tells whether an idempotency key is used again for another content.
        A hash without a key would let readers of the ledger guess short contents."""


class Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    """An encoded content on the wire and in the ledger. `data` is in base64 there."""

    leaseq_codec: str
    data: bytes


class _Texts(Struct, frozen=True, omit_defaults=True):
    """The parts of an error that are encoded."""

    message: str
    traceback: str = ""


_decoder = msgspec.json.Decoder(Envelope)
_encode = msgspec.json.Encoder().encode


def envelope_in(raw: bytes) -> Envelope | None:
    """The envelope that these bytes are; None if they are something else."""
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def require_plain(raw: bytes) -> bytes:
    """The same bytes, for an app without a codec. Raises `CodecMismatch` if they are encoded."""
    if raw.startswith(BEGINNING) and envelope_in(raw) is not None:
        raise CodecMismatch("the content is encoded, and this app has no codec")
    return raw


class ContentCodec:
    """Puts contents into envelopes, and takes them out."""

    def __init__(self, codec: PayloadCodec) -> None:
        self._codec = codec

    def encode(self, content: bytes) -> bytes:
        """A content as JSON in an envelope."""
        return _encode(Envelope(VERSION, self._codec.encode(content)))

    def decode(self, raw: bytes) -> bytes:
        """The content of an envelope; other bytes as they are. Raises `CodecMismatch`."""
        envelope = envelope_in(raw)
        if envelope is None:
            return raw
        return self._decode(envelope.leaseq_codec, envelope.data)

    def fingerprint(self, content: bytes) -> bytes:
        """A hash of the codec's keyed hash: always of the same length, and never empty."""
        return hashlib.sha256(self._codec.fingerprint(content)).digest()

    def encode_error(self, error: TaskError) -> TaskError:
        """An error whose message and traceback are encoded; its code and class stay. Never raises."""
        if is_own(error):
            return error
        content = _encode(_Texts(error.message, error.traceback))
        # That of an error without a traceback is a hash of its message, by which a reader could
        # guess a short one.
        kept = error.fingerprint if error.traceback else of_code(error.code, error.type)
        shown = TaskError(error.code, ENCODED, type=error.type, fingerprint=kept, frame=error.frame)
        try:
            data = b64encode(self._codec.encode(content)).decode()
        except Exception as failed:
            lost = f"not kept, because the codec of the app raised {name_of(failed)}"
            return replace(shown, message=lost)
        return replace(shown, leaseq_codec=VERSION, data=data)

    def decode_error(self, error: bytes) -> bytes:
        """A stored error with its message and traceback. Raises `CodecMismatch`."""
        fields: dict[str, Any] = msgspec.json.decode(error)
        if "leaseq_codec" not in fields:
            return error
        version, text = fields.pop("leaseq_codec"), fields.pop("data")
        try:
            data = b64decode(text)
        except ValueError:
            raise CodecMismatch("the encoded part of the error is no base64") from None
        return _encode(fields | msgspec.json.decode(self._decode(version, data)))

    def decode_task(self, task: Task) -> Task:
        """A task with its contents, as far as this codec can read them."""
        return replace(
            task,
            payload=_as_far_as_readable(self.decode, task.payload),
            result=_as_far_as_readable(self.decode, task.result),
            progress=_as_far_as_readable(self.decode, task.progress),
            error=_as_far_as_readable(self.decode_error, task.error),
        )

    def _decode(self, version: str, data: bytes) -> bytes:
        if version != VERSION:
            raise CodecMismatch(f"the content has an envelope of version {version[:20]!r}")
        try:
            return self._codec.decode(data)
        except Exception as error:  # its text may quote the content
            raise CodecMismatch(
                f"the codec of this app cannot decode the content: it raised {name_of(error)}"
            ) from None


def is_own(error: TaskError) -> bool:
    """Whether leaseq wrote the message of an error, without a word of the client or the handler."""
    return error.code in OWN_CODES or (
        error.code == "other_version" and error.type == CodecMismatch.__name__
    )


def _as_far_as_readable(decode: Any, raw: bytes | None) -> bytes | None:
    try:
        return None if raw is None else decode(raw)
    except CodecMismatch:
        return raw


__all__ = [
    "ContentCodec",
    "Envelope",
    "PayloadCodec",
    "envelope_in",
    "is_own",
    "require_plain",
]
