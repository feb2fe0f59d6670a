"""The handlers of an app, and the payloads that they accept.

A handler is a function. Its parameters, without the context, are the fields of a msgspec struct
that decodes the payload. The shape of that struct lets other processes check a payload before it is
stored.
"""

from __future__ import annotations

import builtins
import inspect
import typing
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypedDict, Unpack

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from leaseq.codec import check_finite
from leaseq.context import Context
from leaseq.errors import LimitInvalid, PayloadInvalid, SubmissionInvalid
from leaseq.handler_keys import check_key_of_type, rule_of_type, unique_key_of
from leaseq.limits import (
    BY_FUNCTION,
    KeyOf,
    LimitBounds,
    QueueRule,
    check_bounds,
    check_key,
    check_rule,
)
from leaseq.model import MAX_ATTEMPTS, NAME, YEAR_SECONDS, TypeDefaults
from leaseq.payloads.collisions import COLLIDES, collides, guarded, may_collide
from leaseq.payloads.known_type import KnownType
from leaseq.payloads.payload_codec import ContentCodec
from leaseq.payloads.shapes import shape_of, stamp_of
from leaseq.safe_text.exceptions import told
from leaseq.safe_text.fingerprint import APPLICATION
from leaseq.safe_text.redaction import parse_pointers
from leaseq.uniqueness import UniqueKeyOf

DEFAULT_QUEUE = "default"
LONGEST_RETENTION_SECONDS = 10 * YEAR_SECONDS


class Handler(Struct, frozen=True, kw_only=True):
    """The handler of one task type. Limits that are None come from the configuration."""

    type: str
    queue: str
    function: Callable[..., Any]
    context_parameter: str | None
    is_async: bool
    arguments: builtins.type[Struct]
    decoder: msgspec.json.Decoder[Struct]
    shape: bytes
    stamp: str
    collides: bool  # whether a payload can hold values with the same hash, as in a set
    known: KnownType
    returns: Any
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    retention_seconds: float | None = None
    redact: tuple[str, ...] = ()  # JSON pointers
    codec: ContentCodec | None = None  # of the app
    key_of: Callable[..., Any] | None = None  # the key of its limit, from the arguments
    unique_key_of: Callable[..., Any] | None = None  # the unique key, from the arguments

    @property
    def defaults(self) -> TypeDefaults:
        """The defaults for submissions of this type."""
        return self.known.defaults

    def schema(self) -> bytes:
        """The JSON Schema of the payload, as JSON, for processes of an older version."""
        try:
            return msgspec.json.encode(msgspec.json.schema(self.arguments))
        except TypeError:  # JSON Schema cannot express it
            return b"{}"

    def decode(self, payload: bytes) -> dict[str, Any]:
        """The payload as keyword arguments. Raises `msgspec.ValidationError` with the path of a
        value that does not fit, and `CodecMismatch`."""
        if self.codec is not None:
            payload = self.codec.decode(payload)
        if self.collides and collides(payload):
            raise msgspec.ValidationError(COLLIDES)
        return msgspec.structs.asdict(self.decoder.decode(payload))

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Call arguments as a payload. Raises `TypeError` if they do not fit the signature, and
        `PayloadInvalid` for values that JSON cannot hold: NaN and Infinity, a lone surrogate, a
        list that contains itself."""
        arguments = self.arguments(**self.name_arguments(args, kwargs))
        try:
            payload = msgspec.json.encode(arguments)
            check_finite(arguments, payload)
        except (ValueError, OverflowError, RecursionError) as error:
            raise PayloadInvalid(f"the payload of {self.type} cannot be stored: {error}") from None
        return payload

    def limit_key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """The key of the limit for these call arguments; None where there is none. Raises
        `SubmissionInvalid`."""
        limit, field = self.defaults.limit, self.defaults.limit_key
        if limit is None or field is None:
            return None
        arguments = asdict(self.arguments(**self.name_arguments(args, kwargs)))
        if self.key_of is None:
            return check_key(arguments[field], whence=f"the key of limit {limit} (field {field!r})")
        try:
            key = self.key_of(**arguments)
        except Exception as error:
            raise SubmissionInvalid(
                f"the key function of {self.type} raised {told(error)}", field="concurrency_key"
            ) from error
        return check_key(
            key, whence=f"the key of limit {limit}, as the key function of {self.type} returned it,"
        )

    def unique_key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """The unique key for these call arguments; None where its type has none. Raises
        `SubmissionInvalid`."""
        if self.defaults.unique_key is None:
            return None
        arguments = asdict(self.arguments(**self.name_arguments(args, kwargs)))
        return unique_key_of(
            self.defaults.unique_key, self.unique_key_of, arguments, type_name=self.type
        )

    def name_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Call arguments by the names of the payload's fields. Raises `TypeError` for too many, or
        for a duplicate."""
        if not args:
            return kwargs
        names = self.arguments.__struct_fields__
        if len(args) > len(names):
            raise TypeError(f"{self.type} takes {len(names)} arguments, {len(args)} were given")
        given = dict(zip(names, args, strict=False))
        if not kwargs:
            return given
        if twice := given.keys() & kwargs.keys():
            raise TypeError(f"{self.type} got {sorted(twice)} twice")
        return given | kwargs


class Registry:
    """The handlers of one app, by task type, and the codec of their contents."""

    def __init__(self, codec: ContentCodec | None = None) -> None:
        self.handlers: dict[str, Handler] = {}
        self.codec = codec
        self.limits: dict[str, LimitBounds] = {}
        self.rules: dict[str, QueueRule] = {}

    def add(self, handler: Handler) -> Handler:
        """Add a handler, whose type must be new. Returns it as it is in this app."""
        if handler.type in self.handlers:
            raise ValueError(
                f"two handlers for task type {handler.type!r}; give one of them a name="
            )
        if self.codec is not None:
            handler = replace(handler, codec=self.codec)
        self.handlers[handler.type] = handler
        APPLICATION.learn([handler.function.__module__])
        return handler

    def declare(self, limit: LimitBounds) -> None:
        """Add a limit, whose name must be new. Raises `LimitInvalid`."""
        check_bounds(limit)
        if limit.name in self.limits:
            raise LimitInvalid(f"limit {limit.name} is declared twice in this app")
        self.limits[limit.name] = limit

    def declare_queue(self, rule: QueueRule) -> None:
        """Add the rule of a queue, which must be the first. Raises `LimitInvalid`."""
        check_rule(rule)
        if rule.queue in self.rules:
            raise LimitInvalid(f"queue {rule.queue} is declared twice in this app")
        self.rules[rule.queue] = rule

    def queues(self) -> list[str]:
        """Every queue of a handler of this app, and the default queue. A task whose type was
        unknown at submission waits there, and any worker that has learned the type may run it."""
        return sorted({DEFAULT_QUEUE, *(handler.queue for handler in self.handlers.values())})


class HandlerOptions(TypedDict, total=False):
    """The keywords of `@app.task`. Times are in seconds."""

    name: str | None
    queue: str
    max_attempts: int | None
    timeout: float | None
    retention: float | timedelta | None
    redact: Sequence[str]
    limit: str | None
    key: KeyOf | None
    unique_key: UniqueKeyOf | None
    unique: str | float | timedelta | None
    debounce: float | timedelta | None
    max_wait: float | timedelta | None
    throttle: float | timedelta | None
    on_conflict: str | None


def describe(function: Callable[..., Any], **options: Unpack[HandlerOptions]) -> Handler:
    """Read a function's signature. Raises `TypeError` for a value that is not a function, for a
    function that no JSON object can call, and for an unknown option; `ValueError` for limits, names
    and pointers."""
    if not hasattr(function, "__name__"):  # functools.partial, an object with __call__
        raise TypeError(
            f"a handler must be a function, not {type(function).__name__}: call it from a `def` or `async def` whose annotated "
            "parameters are the fields of the payload"
        )
    if unknown := options.keys() - HandlerOptions.__annotations__.keys():
        raise TypeError(f"@app.task has no option {min(unknown)!r}")
    name = options.get("name") or function.__name__
    key, unique_key = options.get("key"), options.get("unique_key")
    defaults = _defaults(options)
    _check(name, defaults)
    redact = _redact(name, options.get("redact", ()))
    hints = typing.get_type_hints(function, include_extras=True)
    context_parameter, fields = _read_parameters(name, function, hints)
    _check_keys(name, defaults, options, {field[0] for field in fields})
    arguments = msgspec.defstruct(
        name, fields, kw_only=True, frozen=True, forbid_unknown_fields=True
    )
    try:
        shape, decoder = shape_of(arguments), msgspec.json.Decoder(arguments)
    except (TypeError, ValueError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(
            f"handler {name}: {error}"
        ) from error
    return Handler(
        type=name,
        queue=defaults.queue,
        function=function,
        context_parameter=context_parameter,
        is_async=inspect.iscoroutinefunction(function),
        arguments=arguments,
        decoder=decoder,
        shape=shape,
        stamp=(stamp := stamp_of(shape)),
        collides=may_collide(shape),
        known=KnownType(
            defaults, [(stamp, guarded(shape, decoder.decode))], whole=b'"raw"' not in shape
        ),
        returns=hints.get("return", Any),
        max_attempts=defaults.max_attempts,
        timeout_seconds=defaults.timeout_seconds,
        retention_seconds=_retention_seconds(name, options.get("retention")),
        redact=redact,
        key_of=key if callable(key) else None,
        unique_key_of=unique_key if callable(unique_key) else None,
    )


def _defaults(options: HandlerOptions) -> TypeDefaults:
    """The defaults for submissions of a type with these options."""
    timeout, key, unique_key = options.get("timeout"), options.get("key"), options.get("unique_key")
    return TypeDefaults(
        queue=options.get("queue", DEFAULT_QUEUE),
        max_attempts=options.get("max_attempts"),
        timeout_seconds=None if timeout is None else float(timeout),
        limit=options.get("limit"),
        limit_key=BY_FUNCTION if callable(key) else key,
        unique=rule_of_type({**options}),
        unique_key=BY_FUNCTION if callable(unique_key) else unique_key,
    )


def _read_parameters(
    name: str, function: Callable[..., Any], hints: dict[str, Any]
) -> tuple[str | None, list[Any]]:
    """The parameter that gets the context, and the fields of the payload."""
    context_parameter = None
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
            parameter.POSITIONAL_ONLY,
        ):
            raise TypeError(
                f"handler {name}: parameter {parameter.name!r} cannot be a field of a JSON object"
            )
        if hints.get(parameter.name) is Context:
            context_parameter = parameter.name
        else:
            fields.append(_field(name, parameter, hints))
    return context_parameter, fields


def _check_keys(
    name: str, defaults: TypeDefaults, options: HandlerOptions, fields: set[str]
) -> None:
    """Raise `ValueError` for a limit or a key that no submission can have."""
    _check_limit(name, defaults.limit, options.get("key"), fields)
    check_key_of_type(name, defaults.unique, options.get("unique_key"), fields)


def _check_limit(name: str, limit: str | None, key: KeyOf | None, fields: set[str]) -> None:
    """Raise `ValueError` for a limit or a key that no submission can have."""
    if limit is not None and not NAME.fullmatch(limit):
        raise ValueError(
            f"handler {name}: the name of a limit must be 1 to 128 characters of A-Z a-z 0-9 _ . -, not {limit[:150]!r}"
        )
    if key is None:
        return
    if limit is None:
        raise ValueError(f"handler {name}: key= needs limit=, the name of a limit")
    if not callable(key) and key not in fields:
        raise ValueError(
            f"handler {name}: key= must be a function or the name of a parameter, not {key!r}"
        )


def _retention_seconds(name: str, retention: float | timedelta | None) -> float | None:
    if retention is None:
        return None
    seconds = retention.total_seconds() if isinstance(retention, timedelta) else float(retention)
    if not 1 <= seconds <= LONGEST_RETENTION_SECONDS:
        raise ValueError(
            f"handler {name}: the retention must be between one second and ten years, not {seconds} s"
        )
    return seconds


def _redact(name: str, pointers: Sequence[str]) -> tuple[str, ...]:
    try:
        parse_pointers(pointers)
    except (TypeError, ValueError) as error:
        raise type(error)(f"handler {name}: {error}") from None
    return tuple(pointers)


def _check(name: str, defaults: TypeDefaults) -> None:
    """Raise `ValueError` for names and limits that no submission can have."""
    for what, value in (("the name of a task type", name), ("the name of a queue", defaults.queue)):
        if not NAME.fullmatch(value):
            raise ValueError(
                f"handler {name}: {what} must be 1 to 128 characters of A-Z a-z 0-9 _ . -, not {value[:150]!r}"
            )
    max_attempts, timeout_seconds = defaults.max_attempts, defaults.timeout_seconds
    if max_attempts is not None and not 1 <= max_attempts <= MAX_ATTEMPTS:
        raise ValueError(
            f"handler {name}: max_attempts must be between 1 and {MAX_ATTEMPTS}, not {max_attempts}"
        )
    if timeout_seconds is not None and not 0 < timeout_seconds <= YEAR_SECONDS:
        raise ValueError(
            f"handler {name}: the time-out must be more than 0 and at most one year, not {timeout_seconds} s"
        )


def _field(name: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> tuple[Any, ...]:
    if parameter.name not in hints:
        raise TypeError(f"handler {name}: parameter {parameter.name!r} needs a type annotation")
    kind = hints[parameter.name]
    if parameter.default is parameter.empty:
        return (parameter.name, kind)
    if isinstance(parameter.default, list | dict | set):
        copy = type(parameter.default)
        value = parameter.default
        return (parameter.name, kind, msgspec.field(default_factory=lambda: copy(value)))
    return (parameter.name, kind, parameter.default)


__all__ = ["DEFAULT_QUEUE", "Handler", "HandlerOptions", "Registry", "describe"]
