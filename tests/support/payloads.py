"""Types of handler signatures, and JSON texts for them, from Hypothesis."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    TypedDict,
    TypeVar,
    Union,
)

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Struct, UnsetType

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 10


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


class Leaf(Struct, tag="leaf", frozen=True):
    value: int


class Branch(Struct, tag="branch", forbid_unknown_fields=True):
    left: Leaf | Branch
    right: Leaf | Branch | None = None


class Numbered(Struct, tag=7, tag_field="kind"):
    at: datetime.date


class Lettered(Struct, tag=8, tag_field="kind"):
    text: Annotated[str, Meta(pattern="^[a-z]+$")]


class Renamed(Struct, rename="camel"):
    first_name: str
    odd_name: int = msgspec.field(default=1, name="odd.name/~")


class Row(Struct, array_like=True):
    number: int
    text: str = ""


class ClosedRow(Struct, array_like=True, forbid_unknown_fields=True, tag="row"):
    number: int
    text: str = ""


class Unset(Struct):
    value: int | UnsetType = UNSET
    other: str | UnsetType | None = UNSET


class ByIdentity(Struct, eq=False):
    value: int


class Changing(Struct):
    value: int


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    next: Point | None = None


@dataclasses.dataclass(frozen=True)
class FrozenPoint:
    x: int


class Box(Struct, Generic[T]):
    value: T


class Tree(Struct, Generic[T]):
    value: T
    trees: list[Tree[T]] = []


class Base(Struct, tag_field="kind", tag=str.lower):
    value: int = 0


class One(Base):
    at: int = 1


class Two(Base, rename={"at": "v"}):
    at: str = ""


class Mutual(Struct):
    other: Other | None = None


class Other(Struct, kw_only=True, omit_defaults=True):
    mutual: Mutual | None = None
    value: int = msgspec.field(name="class", default=1)


class Rows(Struct, array_like=True):
    rows: list[Rows] = []


@dataclasses.dataclass(slots=True, unsafe_hash=True)
class Slotted:
    value: int
    next: Slotted | None = None


Named = TypedDict("Named", {"odd name": int, "class": str}, total=False)


class Pair(NamedTuple):
    left: int
    right: str = "x"


class Options(TypedDict):
    size: int
    color: NotRequired[Color]


class Loose(TypedDict, total=False):
    when: datetime.datetime


LEAVES: list[Any] = [
    Box[int],
    Tree[int],
    One | Two,
    Mutual,
    Rows,
    Slotted,
    Named,
    Sequence[int],
    Mapping[str, int],
    NewType("Number", int),
    Any,
    None,
    bool,
    int,
    float,
    str,
    bytes,
    bytearray,
    decimal.Decimal,
    uuid.UUID,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    msgspec.Raw,
    Color,
    Level,
    Rights,
    Leaf,
    Branch,
    Leaf | Branch,
    Numbered | Lettered,
    Renamed,
    Row,
    ClosedRow,
    Unset,
    ByIdentity,
    Changing,
    Point,
    FrozenPoint,
    Pair,
    Options,
    Loose,
    Literal[1, 2],
    Literal["a", "b"] | None,
    Annotated[int, Meta(ge=0, lt=10)],
    Annotated[int, Meta(multiple_of=3)],
    Annotated[float, Meta(gt=0.5, le=1e10)],
    Annotated[float, Meta(multiple_of=0.1)],
    Annotated[str, Meta(min_length=1, max_length=3)],
    Annotated[str, Meta(pattern="^[a-z]{2}$")],
    Annotated[bytes, Meta(max_length=2)],
    Annotated[datetime.datetime, Meta(tz=True)],
    Annotated[datetime.datetime, Meta(tz=False)],
    Annotated[datetime.time, Meta(tz=True)],
]


def _compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lengths = st.builds(Meta, min_length=st.integers(0, 1), max_length=st.integers(1, 3))
    plain = st.one_of(
        inner.map(lambda one: list[one]),  # type: ignore[valid-type,misc,unused-ignore]
        inner.map(lambda one: set[one]),  # type: ignore[valid-type,misc,unused-ignore]
        inner.map(lambda one: frozenset[one]),  # type: ignore[valid-type,misc,unused-ignore]
        inner.map(lambda one: tuple[one, ...]),  # type: ignore[valid-type,misc,unused-ignore]
        st.tuples(inner, inner).map(lambda two: dict[two]),  # type: ignore[valid-type,misc,unused-ignore]
    )
    return st.one_of(
        plain,
        st.tuples(plain, lengths).map(lambda two: Annotated[two]),  # type: ignore[valid-type,misc,unused-ignore]
        st.lists(inner, max_size=3).map(lambda some: tuple[tuple(some)]),  # type: ignore[valid-type,misc,unused-ignore]
        st.lists(inner, min_size=2, max_size=4).map(lambda some: Union[tuple(some)]),  # noqa: UP007
    )


payload_types: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(LEAVES), _compound, max_leaves=6
)

# JSON texts on the borders of what a type takes.
ODD = [
    "null",
    "true",
    "0",
    "-0",
    "1",
    "2",
    "7",
    "10",
    "1.0",
    "1.5",
    "0.3",
    "1e2",
    "1E400",
    "-1e400",
    "1e-400",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1" + "0" * 400,
    '""',
    '"a"',
    '"ab"',
    '"red"',
    '"RED"',
    '"1"',
    '"1.0"',
    '"NaN"',
    '"-Infinity"',
    '"1e5"',
    '"0x1"',
    '" 1"',
    '"aGk="',
    '"aGk"',
    '"a-_="',
    '"2024-02-29"',
    '"2023-02-29"',
    '"2024-01-01T00:00:00Z"',
    '"2024-01-01T00:00:00"',
    '"2024-01-01 00:00:00+16:00"',
    '"2024-01-01T24:00:00Z"',
    '"12:00:00"',
    '"12:00:00Z"',
    '"P1D"',
    '"PT1.5S"',
    '"P1M"',
    '"-P1D"',
    '"7d9bb8d0-9a0a-4d45-9e8a-0f2d5b1c9a33"',
    '"7d9bb8d09a0a4d459e8a0f2d5b1c9a33"',
    '"7d9bb8d0-9a0a"',
    '"\\u00e9"',
    "[]",
    "{}",
    "[1]",
    '[1,"x"]',
    '[1,"x",2]',
    "[1,1,1]",
    '["a","a"]',
    '["row",1]',
    '{"type":"leaf","value":1}',
    '{"value":1,"type":"leaf"}',
    '{"type":"branch","left":{"type":"leaf","value":1}}',
    '{"type":"branch","left":{"type":"leaf","value":1},"more":1}',
    '{"kind":7,"at":"2024-01-01"}',
    '{"kind":8,"text":"abc"}',
    '{"kind":8.0,"text":"abc"}',
    '{"kind":"8","text":"abc"}',
    '{"firstName":"a"}',
    '{"firstName":"a","odd.name/~":2}',
    '{"first_name":"a"}',
    '{"value":1,"value":"x"}',
    '{"value":"x","value":1}',
    '{"x":1}',
    '{"x":1,"next":{"x":2,"y":null}}',
    '{"size":1,"color":"red"}',
    '{"size":1,"color":"green"}',
    '{"when":"2024-01-01T00:00:00Z"}',
    '{"1":1}',
    '{"1":1,"01":2}',
    '{"a":1,"a":2}',
    '{"2024-01-01":1}',
    '{"true":1}',
    '{"null":1}',
]

texts: st.SearchStrategy[str] = st.recursive(
    st.one_of(
        st.sampled_from(ODD),
        st.integers().map(str),
        st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
        st.text(max_size=4).map(lambda text: json.dumps(text.replace("\0", ""))),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: f"[{','.join(parts)}]"),
        st.lists(
            st.tuples(st.sampled_from(["a", "1", "value", "x", "type", "2024-01-01"]), inner),
            max_size=3,
        ).map(
            lambda parts: "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in parts) + "}"
        ),
    ),
    max_leaves=8,
)

__all__ = ["LEAVES", "ODD", "payload_types", "texts"]
