"""Shapes of payloads: the accepted arguments of a handler, as JSON.

A worker registers the shape of every task type. The API and the command line have no handler code.
They build msgspec types from the shape and decode with them, so the check of a submission and the
decoder of a worker are the same msgspec code, with the same rules for numbers, dates, unions, tags,
limits and unknown fields. JSON Schema cannot express many of these rules.

A shape omits the checks that only the handler's code can make: `__post_init__`, validators of
attrs, and `_missing_` of an enum. Class names, defaults and descriptions are not part of it. The
stamp of a shape is a hash: two handlers with the same stamp take the same payloads.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import hashlib
import uuid
from collections import namedtuple
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict, Union

import msgspec
from msgspec import Meta, Struct, inspect

from leaseq.payloads.patterns import require_linear

Node = dict[str, Any]

_NUMBER = ("gt", "ge", "lt", "le", "multiple_of")
_LENGTH = ("min_length", "max_length")
# The name of a kind in a shape, its node in msgspec.inspect, its type, and its possible limits.
_LEAVES: dict[str, tuple[type[inspect.Type], Any, tuple[str, ...]]] = {
    "any": (inspect.AnyType, Any, ()),
    "raw": (inspect.RawType, msgspec.Raw, ()),
    "null": (inspect.NoneType, None, ()),
    "bool": (inspect.BoolType, bool, ()),
    "int": (inspect.IntType, int, _NUMBER),
    "float": (inspect.FloatType, float, _NUMBER),
    "str": (inspect.StrType, str, (*_LENGTH, "pattern")),
    "bytes": (inspect.BytesType, bytes, _LENGTH),
    "bytearray": (inspect.ByteArrayType, bytearray, _LENGTH),
    "memoryview": (inspect.MemoryViewType, memoryview, _LENGTH),
    "datetime": (inspect.DateTimeType, datetime.datetime, ("tz",)),
    "time": (inspect.TimeType, datetime.time, ("tz",)),
    "date": (inspect.DateType, datetime.date, ()),
    "timedelta": (inspect.TimeDeltaType, datetime.timedelta, ()),
    "uuid": (inspect.UUIDType, uuid.UUID, ()),
    "decimal": (inspect.DecimalType, decimal.Decimal, ()),
}
_COLLECTIONS: dict[str, tuple[type[inspect.CollectionType], Any]] = {
    "list": (inspect.ListType, list),
    "set": (inspect.SetType, set),
    "frozenset": (inspect.FrozenSetType, frozenset),
    "tuple": (inspect.VarTupleType, tuple),
}
_ENUMS = {"enum": enum.Enum, "flag": enum.Flag, "int_flag": enum.IntFlag}
_CLASSES: dict[type[inspect.Type], str] = {
    inspect.StructType: "struct",
    inspect.DataclassType: "dataclass",
    inspect.TypedDictType: "typed_dict",
    inspect.NamedTupleType: "named_tuple",
}


def shape_of(arguments: type[Struct]) -> bytes:
    """The shape of a struct, as JSON. Raises `TypeError` for a type that a payload cannot hold, and
    `ValueError` for a pattern that may take more than linear time."""
    classes = _Describer().describe(arguments)
    return msgspec.json.encode({"classes": classes}, order="sorted")


def stamp_of(shape: bytes) -> str:
    """The hash of a shape, in eight hexadecimal digits."""
    return hashlib.sha256(shape).hexdigest()[:8]


def decoder_of(shape: bytes) -> msgspec.json.Decoder[Any]:
    """A decoder that accepts payloads of a shape. Raises `ValueError` for a text that is not a
    shape of this version."""
    try:
        classes = msgspec.json.decode(shape, type=dict[str, list[Node]])["classes"]
        return msgspec.json.Decoder(_Builder(classes).build())
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        NameError,
        RecursionError,
        TypeError,
        msgspec.MsgspecError,
    ) as error:
        raise ValueError(f"not a shape of this version: {type(error).__name__}: {error}") from error


class _Describer:
    """Turns types into nodes. A class is described once and referenced by its number, since it may
    contain itself."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._found: list[Any] = []

    def describe(self, arguments: type[Struct]) -> list[Node]:
        # The list grows during the walk: a field may have a new class.
        self._number(inspect.type_info(arguments))
        return [self._class(found) for found in self._found]

    def _number(self, found: Any) -> int:
        if id(found) not in self._numbers:
            self._numbers[id(found)] = len(self._found)
            self._found.append(found)
        return self._numbers[id(found)]

    def _class(self, found: Any) -> Node:
        node: Node = {
            "class": _CLASSES[type(found)],
            "fields": [
                {
                    "name": field.encode_name,
                    "required": field.required,
                    "type": self._node(field.type),
                }
                for field in found.fields
            ],
            "hash": _hash_of(found),
        }
        if isinstance(found, inspect.StructType):
            node |= {"array": found.array_like, "closed": found.forbid_unknown_fields}
            if found.tag is not None:
                node |= {"tag": found.tag, "tag_field": found.tag_field}
        return node

    def _node(self, found: Any) -> Node:
        if isinstance(found, inspect.Metadata):
            return self._node(found.type)
        for kind, (node, _, limits) in _LEAVES.items():
            if type(found) is node:
                return {"kind": kind} | self._limits(found, limits)
        for kind, (collection, _) in _COLLECTIONS.items():
            if type(found) is collection:
                return {"kind": kind, "of": self._node(found.item_type)} | self._limits(
                    found, _LENGTH
                )
        if type(found) in _CLASSES:
            return {"kind": "class", "at": self._number(found)}
        return self._compound(found)

    def _compound(self, found: Any) -> Node:
        if isinstance(found, inspect.UnionType):
            return {"kind": "union", "of": [self._node(part) for part in found.types]}
        if isinstance(found, inspect.TupleType):
            return {"kind": "items", "of": [self._node(part) for part in found.item_types]}
        if isinstance(found, inspect.DictType):
            keys, values = self._node(found.key_type), self._node(found.value_type)
            return {"kind": "dict", "keys": keys, "of": values} | self._limits(found, _LENGTH)
        if isinstance(found, inspect.LiteralType):
            return {"kind": "literal", "values": list(found.values)}
        if isinstance(found, inspect.EnumType):
            cls: Any = found.cls
            kind = next(kind for kind, base in reversed(_ENUMS.items()) if issubclass(cls, base))
            return {"kind": kind, "values": [member.value for member in cls]}
        if isinstance(found, inspect.CustomType) and found.cls is object:
            return {"kind": "any"}
        name = getattr(getattr(found, "cls", None), "__qualname__", type(found).__name__)
        raise TypeError(f"a payload cannot hold the type {name}")

    def _limits(self, found: Any, names: tuple[str, ...]) -> Node:
        limits: Node = {name: getattr(found, name) for name in names}
        if limits.get("pattern") is not None:
            require_linear(limits["pattern"])
        return {name: limit for name, limit in limits.items() if limit is not None}


class _Builder:
    """Turns nodes into types of msgspec. Annotations name types, since a class may contain one that
    does not exist yet."""

    def __init__(self, classes: list[Node]) -> None:
        self._nodes = classes
        self._types: dict[str, Any] = {}

    def build(self) -> Any:
        classes = [self._class(number, node) for number, node in enumerate(self._nodes)]
        for one in classes:
            for name, found in self._types.items():
                setattr(one, name, found)  # msgspec looks up the names in annotations there
        return classes[0]

    def _class(self, number: int, node: Node) -> Any:
        name, fields = f"C{number}", node["fields"]
        annotations = {field["name"]: f"T{number}_{n}" for n, field in enumerate(fields)}
        self._types |= {annotations[field["name"]]: self._type(field["type"]) for field in fields}
        optional = [field["name"] for field in fields if not field["required"]]
        build = {
            "struct": _struct,
            "dataclass": _dataclass,
            "typed_dict": _typed_dict,
            "named_tuple": _named_tuple,
        }
        self._types[name] = found = build[node["class"]](name, annotations, optional, node)
        return found

    def _type(self, node: Node) -> Any:
        kind = node["kind"]
        if kind in _LEAVES:
            _, found, limits = _LEAVES[kind]
            return _limited(found, node, limits)
        if kind in _COLLECTIONS:
            item, collection = self._type(node["of"]), _COLLECTIONS[kind][1]
            return _limited(
                _of(collection, item, ...) if kind == "tuple" else _of(collection, item),
                node,
                _LENGTH,
            )
        if kind == "dict":
            return _limited(
                _of(dict, self._type(node["keys"]), self._type(node["of"])), node, _LENGTH
            )
        if kind in _ENUMS:
            base: Any = _ENUMS[kind]
            return base("E", {f"V{n}": value for n, value in enumerate(node["values"])})
        if kind == "class":
            return f"C{node['at']}"
        if kind == "literal":
            return _of(Literal, *node["values"])
        return _of(
            {"items": tuple, "union": Union}[kind], *(self._type(part) for part in node["of"])
        )


def _of(generic: Any, *arguments: Any) -> Any:
    """A generic type with arguments that are known at run time only."""
    return generic[arguments]


def _struct(name: str, annotations: dict[str, str], optional: list[str], node: Node) -> Any:
    fields = [
        (
            f"f{n}",
            annotation,
            msgspec.field(name=key, **({"default": None} if key in optional else {})),
        )
        for n, (key, annotation) in enumerate(annotations.items())
    ]
    return msgspec.defstruct(
        name,
        fields,
        kw_only=True,
        frozen=node["hash"] == "value",
        eq=node["hash"] != "identity",
        array_like=node["array"],
        forbid_unknown_fields=node["closed"],
        tag=node.get("tag"),
        tag_field=node.get("tag_field"),
    )


def _dataclass(name: str, annotations: dict[str, str], optional: list[str], node: Node) -> Any:
    fields = [
        (
            key,
            annotation,
            dataclasses.field(default=None) if key in optional else dataclasses.field(),
        )
        for key, annotation in annotations.items()
    ]
    return dataclasses.make_dataclass(
        name, fields, kw_only=True, frozen=node["hash"] == "value", eq=node["hash"] != "identity"
    )


def _typed_dict(name: str, annotations: dict[str, str], optional: list[str], node: Node) -> Any:
    make: Any = TypedDict
    found = make(name, dict.fromkeys(annotations, Any))
    # As names: TypedDict would turn them into references that are looked up in this module.
    found.__annotations__ = annotations
    found.__required_keys__, found.__optional_keys__ = (
        frozenset(annotations) - set(optional),
        frozenset(optional),
    )
    return found


def _named_tuple(name: str, annotations: dict[str, str], optional: list[str], node: Node) -> Any:
    make: Any = namedtuple  # noqa: PYI024 - its fields are known at run time
    found = make(name, list(annotations), defaults=[None] * len(optional))
    found.__annotations__ = annotations
    return found


def _hash_of(found: Any) -> str:
    """How objects of a class are hashed: by `value`, by `identity`, or `never`. The last kind
    cannot be elements of a set."""
    method = found.cls.__hash__
    if isinstance(found, inspect.StructType) and method is Struct.__hash__:
        config = found.cls.__struct_config__
        return "identity" if not config.eq else "value" if config.frozen else "never"
    return "never" if method is None else "identity" if method is object.__hash__ else "value"


def _limited(found: Any, node: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    limits = {name: node[name] for name in names if name in node}
    if "pattern" in limits:
        require_linear(limits["pattern"])
    return Annotated[found, Meta(**limits)] if limits else found


__all__ = ["decoder_of", "shape_of", "stamp_of"]
