"""Fingerprints of failures: the same for failures that have the same cause.

A fingerprint is the first 12 hexadecimal digits of a SHA-256 over the code of the error, the class
of the exception, and either the last frames of the application or, for an explicit `Fail` or
`Retry`, the message without its numbers, ids and addresses. Line numbers and other messages are left
out, so a fingerprint outlives most deploys. It is computed where the exception is, because nothing
else has its frames.

The same failure has the same fingerprint on every machine and in every supported version of Python.
Frames of comprehensions, which Python 3.12 removed, and of code without a file do not count, and
neither does the folder into which the application was installed.

Invariants: no function raises, none reads an attribute that a class can override, and each looks at
a bounded part of an exception.
"""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from pathlib import PurePath
from types import CodeType, FrameType, TracebackType
from typing import Any

from msgspec import Struct

LENGTH = 12
FRAMES = 5
FRAME_LENGTH = 200
# Frames of one traceback that are looked at: a recursion may have thousands.
LOOKED_AT = 10_000
LEAVES = 16
# Errors that are no failures: the end was asked for, or the attempt goes on elsewhere.
HARMLESS = frozenset({"cancelled", "isolated", "released"})

_LIBRARIES = frozenset({"dist-packages", "site-packages"})
_STANDARD = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib")})
_COMPREHENSION = re.compile(r"\.<(?:list|dict|set)comp>(?:\.<locals>)?")
_COMPREHENSIONS = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>"})
_QUOTED = re.compile(r"""(?<!\w)'[^'\n]*'(?!\w)|"[^"\n]*"|`[^`\n]*`""")
# In words that are ids, numbers, times, addresses or paths.
_VARIABLE = re.compile(r"[\d@/\\]")


class Place(Struct, frozen=True):
    """Where a failure comes from: its fingerprint, and the innermost frame of the application as
    `module:function` (empty: unknown)."""

    fingerprint: str
    frame: str = ""


class Application:
    """The packages of the handlers of this process. Their frames are those of the application, also
    where it was installed among the libraries."""

    def __init__(self) -> None:
        self.packages: frozenset[str] = frozenset()

    def learn(self, modules: Iterable[object]) -> None:
        """Add the packages of modules, given by name."""
        names = {module.partition(".")[0] for module in modules if type(module) is str}
        self.packages |= names - {"__main__"}


APPLICATION = Application()


def of_code(code: str, name: str = "") -> str:
    """The fingerprint of an error of which only the code and the class of the exception are
    known."""
    return _digest([code, name])


def of_text(error: BaseException, code: str, name: str, text: str) -> Place:
    """The place of an error whose text the handler has written for people."""
    try:
        return Place(_digest([code, name, constant_part(text)]), _last(_innermost(error)))
    except Exception:
        return Place(of_code(code, name))


def of_frames(error: BaseException, code: str, name: str) -> Place:
    """The place of an exception, by the frames that it went through. A group is placed by its
    members, in an order that does not depend on which of them came first."""
    try:
        own = _frames(error)
        parts = ["\n".join(own)]
        if issubclass(type(error), BaseExceptionGroup):
            parts += sorted({_member(leaf) for leaf in islice(_leaves(error), LEAVES)})[:FRAMES]
        return Place(_digest([code, name, *parts]), _last(own) or _last(_innermost(error)))
    except Exception:
        return Place(of_code(code, name))


def _digest(parts: Iterable[str]) -> str:
    # a separator that no part contains: ("a", "b") and ("ab", "") differ
    text = "\0".join(part.replace("\0", "") for part in parts)
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:LENGTH]


def constant_part(text: str) -> str:
    """The part of a text that is the same each time."""
    words = _QUOTED.sub("#", text).split()
    return " ".join("#" if _VARIABLE.search(word) else word for word in words)


def _member(leaf: BaseException) -> str:
    return f"{type.__dict__['__name__'].__get__(type(leaf))}\n" + "\n".join(_frames(leaf))


def _leaves(group: BaseException) -> Iterator[BaseException]:
    waiting, seen = [group], 0
    while waiting and seen < LOOKED_AT:
        part, seen = waiting.pop(), seen + 1
        if issubclass(type(part), BaseExceptionGroup):
            waiting += reversed(BaseExceptionGroup.exceptions.__get__(part)[:LEAVES])
        else:
            yield part


def _innermost(error: BaseException) -> list[str]:
    """The frames of an exception, or of the first member of a group that has any."""
    for leaf in islice(_leaves(error), LEAVES):
        if frames := _frames(leaf):
            return frames
    return []


def _frames(error: BaseException) -> list[str]:
    """The last frames of an exception within the application, outermost first. Where there are
    none, the last of the libraries, or of code without a file. A function that calls itself counts
    once."""
    ours: dict[str, None] = {}
    others: dict[str, None] = {}
    generated: dict[str, None] = {}
    for frame in _walk(error):
        path = frame.f_code.co_filename
        module, name = _name_of(frame)
        if frame.f_code.co_name in _COMPREHENSIONS:
            continue
        found = ours if _is_ours(path, module) else others
        if path.startswith("<"):
            found = generated
        found.pop(name, None)
        found[name] = None
    frames = [*(ours or others or generated)][-FRAMES:]
    # where the limit is reached within a cycle of functions is chance
    return sorted(frames) if issubclass(type(error), RecursionError) else frames


def _walk(error: BaseException) -> Iterator[FrameType]:
    trace: Any = BaseException.__dict__["__traceback__"].__get__(error)
    looked_at = 0
    while isinstance(trace, TracebackType) and looked_at < LOOKED_AT:
        yield trace.tb_frame
        trace, looked_at = trace.tb_next, looked_at + 1


def _name_of(frame: FrameType) -> tuple[str, str]:
    """The module of a frame, and its name."""
    code: CodeType = frame.f_code
    module = dict.get(frame.f_globals, "__name__")
    if type(module) is not str or module == "__main__":
        module = PurePath(code.co_filename).stem
    return module, f"{module}:{_COMPREHENSION.sub('', code.co_qualname)}"[:FRAME_LENGTH]


@lru_cache(maxsize=4096)
def _is_library(path: str) -> bool:
    return path.startswith(_STANDARD) or not _LIBRARIES.isdisjoint(PurePath(path).parts)


def _is_ours(path: str, module: str) -> bool:
    package = module.partition(".")[0]
    if package == "leaseq":
        return False
    return package in APPLICATION.packages or not _is_library(path)


def _last(frames: list[str]) -> str:
    return frames[-1] if frames else ""


__all__ = [
    "APPLICATION",
    "HARMLESS",
    "LENGTH",
    "Place",
    "constant_part",
    "of_code",
    "of_frames",
    "of_text",
]
