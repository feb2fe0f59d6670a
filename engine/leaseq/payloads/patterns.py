"""Refuse patterns that may not match in linear time.

A worker's decoder runs `msgspec.Meta(pattern=...)` in the engine of the standard library, which
backtracks. A bad pattern and a matching payload keep it busy for hours, and nothing can interrupt
it. A handler with such a pattern is refused at its definition.

The analysis bounds the engine's steps from above, for texts of every length. It walks through the
parsed pattern and multiplies the ways in which each part can match. A repeat counts as one way if
the text after it cannot begin with a character that the repeat takes: then each shorter match fails
at its first character. A pattern is linear if the steps per character stay below a constant.
Constructs that the analysis does not understand count as the worst case, so it refuses too much and
never too little (docs/decisions/0031-one-check-for-payloads.md).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from re import _constants as op
from re import _parser
from typing import Any

# Longer texts do not fit into a payload of the default size.
LENGTHS = (8, 32, 128, 512, 2048, 2**14, 2**17, 2**20)
STEPS_PER_CHARACTER = 16
STEPS_PER_NODE = 4
MOST_STEPS = 1 << 62
# A repeat that takes at most this many characters counts as a constant, not for each character of
# the text.
SHORT = 16

# A set of characters is a bit mask: one bit for each of the first characters of Unicode, one for
# each class of the others.
LOW = 0x180
LOW_BITS = (1 << LOW) - 1
HIGH_DIGIT, HIGH_WORD, HIGH_SPACE, HIGH_OTHER = (1 << (LOW + n) for n in range(4))
HIGH = HIGH_DIGIT | HIGH_WORD | HIGH_SPACE | HIGH_OTHER
ALL = LOW_BITS | HIGH
NEWLINE = 1 << 10


def _low(test: Any) -> int:
    return sum(1 << code for code in range(LOW) if test(chr(code)))


_CATEGORIES = {
    op.CATEGORY_DIGIT: _low(re.compile(r"\d").match) | HIGH_DIGIT,
    op.CATEGORY_WORD: _low(re.compile(r"\w").match) | HIGH_DIGIT | HIGH_WORD,
    op.CATEGORY_SPACE: _low(re.compile(r"\s").match) | HIGH_SPACE,
}
_CATEGORIES |= {
    op.CATEGORY_NOT_DIGIT: ALL & ~_CATEGORIES[op.CATEGORY_DIGIT],
    op.CATEGORY_NOT_WORD: ALL & ~_CATEGORIES[op.CATEGORY_WORD],
    op.CATEGORY_NOT_SPACE: ALL & ~_CATEGORIES[op.CATEGORY_SPACE],
}
_REPEATS = {op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT}
_SINGLES = {op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN}

Node = tuple[Any, Any]


@dataclass(frozen=True)
class Bound:
    """The worst cost of a part of a pattern from one position of the text: ways to match it, and
    steps to try them all.

    A part with one way may be steady: it takes `fixed` steps, and `rate` more for each character
    that it consumes. The rounds of a repeat consume different characters, so a steady part costs no
    more in many rounds than in one. `fixed` is None for others.
    """

    ways: int
    steps: int
    fixed: int | None = None
    rate: int = 0


def _steady(fixed: int, rate: int, length: int) -> Bound:
    return Bound(1, min(fixed + rate * length, MOST_STEPS), fixed, rate)


@dataclass(frozen=True)
class Context:
    """The context of a part: texts have at most `length` characters, and `follow` may come right
    after it."""

    length: int
    flags: int
    follow: int


class Unknown(Exception):
    """A part of a pattern whose cost is not known."""


def require_linear(pattern: str) -> None:
    """Raise `ValueError`, in one line, for a pattern that is not known to run in linear time."""
    try:
        parsed = _parser.parse(pattern)
        nodes = _flat(parsed)
        flags = parsed.state.flags
        for length in LENGTHS:
            steps = _search_steps(nodes, Context(length, flags, 0))
            if steps > STEPS_PER_CHARACTER * length + STEPS_PER_NODE * _count(nodes):
                raise Unknown("it backtracks")
    except (Unknown, RecursionError, OverflowError, re.error) as error:
        raise ValueError(
            f"the pattern {pattern[:100]!r} may take more than linear time ({error}): begin it with ^, and let no repeat be "
            "followed by a character that the repeat itself can match"
        ) from None


def _flat(nodes: Any) -> list[Node]:
    """The nodes of a sequence, with plain groups expanded."""
    flat: list[Node] = []
    for kind, value in nodes:
        if kind is op.SUBPATTERN and value[1] == value[2] == 0:
            flat += _flat(value[3])
        else:
            flat.append((kind, value))
    return flat


def _search_steps(nodes: list[Node], context: Context) -> int:
    """The steps of a search. It begins at every position of the text, unless the pattern is
    anchored."""
    anchored = (
        bool(nodes)
        and nodes[0][0] is op.AT
        and nodes[0][1] in (op.AT_BEGINNING, op.AT_BEGINNING_STRING)
    )
    anchored = anchored and not context.flags & re.MULTILINE
    # A repeat at the very end: the search ends once it has its minimum of rounds. Steps beyond that
    # are counted once.
    last = nodes[-1] if nodes else None
    extra = 0
    if last is not None and last[0] in _REPEATS:
        least, most, body = last[1]
        nodes = [*nodes[:-1], (last[0], (least, least, body))]
        extra = (
            min(most, context.length) * _sequence(_flat(body), replace(context, follow=ALL)).steps
        )
    bound = _sequence(nodes, context)
    starts = 1 if anchored else context.length + 1
    return min(bound.steps * starts + extra + context.length, MOST_STEPS)


def _sequence(nodes: Sequence[Node], context: Context) -> Bound:
    """Cost of a sequence, from its end to its beginning, since each part depends on the text after
    it."""
    ways, steps, follow = 1, 1, context.follow
    fixed: int | None = 1
    rate = 0
    for node in reversed(nodes):
        bound = _node(node, replace(context, follow=follow))
        fixed = None if fixed is None or bound.fixed is None else fixed + bound.fixed
        rate = max(rate, bound.rate)
        steps = min(bound.steps + bound.ways * steps, MOST_STEPS)
        ways = min(ways * bound.ways, MOST_STEPS)
        first, nullable = _first([node], context.flags)
        follow = first | follow if nullable else first
    return Bound(ways, steps) if fixed is None else _steady(fixed, rate, context.length)


def _node(node: Node, context: Context) -> Bound:
    kind, value = node
    if kind in _SINGLES or kind is op.AT:
        return _steady(1, 0, context.length)
    if kind is op.SUBPATTERN:
        return _sequence(
            _flat(value[3]), replace(context, flags=(context.flags | value[1]) & ~value[2])
        )
    if kind is op.ATOMIC_GROUP:
        return replace(_sequence(_flat(value), replace(context, follow=ALL)), ways=1)
    if kind in (op.ASSERT, op.ASSERT_NOT):
        # It may read far, but it consumes nothing.
        bound = _sequence(_flat(value[1]), replace(context, follow=ALL))
        return (
            _steady(bound.fixed, 0, 0)
            if bound.fixed is not None and bound.rate == 0
            else Bound(1, bound.steps)
        )
    if kind is op.BRANCH:
        return _branch([_flat(branch) for branch in value[1]], context)
    if kind in _REPEATS:
        return _repeat(kind, value, context)
    raise Unknown("it refers back to a group")


def _branch(branches: list[list[Node]], context: Context) -> Bound:
    bounds = [_sequence(branch, context) for branch in branches]
    apart = all(
        _exclude(one, other, context.flags)
        for n, one in enumerate(branches)
        for other in branches[:n]
    )
    if not apart:
        ways, steps = sum(b.ways for b in bounds), len(bounds) + sum(b.steps for b in bounds)
        return Bound(min(ways, MOST_STEPS), min(steps, MOST_STEPS))
    # At most one alternative matches beyond the characters in which they differ.
    fixed = 0
    for bound in bounds:
        if bound.fixed is None:
            return Bound(
                max(b.ways for b in bounds),
                min(len(bounds) + sum(b.steps for b in bounds), MOST_STEPS),
            )
        fixed += bound.fixed
    return _steady(fixed, max(b.rate for b in bounds), context.length)


def _exclude(one: Sequence[Node], other: Sequence[Node], flags: int) -> bool:
    """Whether no text can begin as both do: they differ in the first characters, or later in a
    fixed beginning."""
    for n in range(min(len(one), len(other))):
        (first, nullable), (second, may_be_empty) = _first(one[n:], flags), _first(other[n:], flags)
        if nullable or may_be_empty:
            return False
        if not first & second:
            return True
        if one[n][0] not in _SINGLES or other[n][0] not in _SINGLES:
            return False
    return False


def _repeat(kind: Any, value: tuple[int, int, Any], context: Context) -> Bound:
    least, most, inner = value
    body = _flat(inner)
    first, nullable = _first(body, context.flags)
    most = min(most, context.length)
    least = min(least, most)
    if nullable and most > 1:
        raise Unknown("it repeats what can be empty")
    possessive = kind is op.POSSESSIVE_REPEAT
    bound = _sequence(
        body, replace(context, follow=first | (ALL if possessive else context.follow))
    )
    # If the text after the repeat cannot begin like a round, every shorter match fails immediately.
    single = possessive or most == least or not first & context.follow
    if bound.fixed is not None and not nullable:
        fixed, rate = bound.fixed + 2, bound.fixed + 1 + bound.rate
        widest = value[1] * _width(body)
        steady = (
            _steady(fixed + rate * widest, 0, 0)
            if widest <= SHORT
            else _steady(fixed, rate, context.length)
        )
        return steady if single else Bound(most - least + 1, steady.steps)
    ways, steps, round_ways = int(least == 0), 1, 1
    for n in range(1, most + 1):
        steps = min(steps + round_ways * bound.steps, MOST_STEPS)
        round_ways = min(round_ways * bound.ways, MOST_STEPS)
        ways = min(ways + (round_ways if n >= least else 0), MOST_STEPS)
        if steps == MOST_STEPS:
            break
    return Bound(1 if possessive else max(ways, 1), steps)


def _width(nodes: Sequence[Node]) -> int:
    """The most characters that a sequence can consume, or a number beyond every length."""
    return len(nodes) if all(kind in _SINGLES for kind, _ in nodes) else LENGTHS[-1]


def _first(nodes: Sequence[Node], flags: int) -> tuple[int, bool]:
    """The characters that a sequence can begin with, and whether it can be empty."""
    first = 0
    for kind, value in nodes:
        more, nullable = _first_of(kind, value, flags)
        first |= more
        if not nullable:
            return first, False
    return first, True


def _first_of(kind: Any, value: Any, flags: int) -> tuple[int, bool]:
    if kind in _SINGLES:
        return _characters(kind, value, flags), False
    if kind is op.AT:
        if value not in (op.AT_END, op.AT_END_STRING):
            return 0, True
        # Past the end of the text there is at most one line end, and one way to get there.
        return (NEWLINE if flags & re.MULTILINE else 0), False
    if kind is op.SUBPATTERN:
        return _first(_flat(value[3]), (flags | value[1]) & ~value[2])
    if kind is op.ATOMIC_GROUP:
        return _first(_flat(value), flags)
    if kind in _REPEATS:
        first, nullable = _first(_flat(value[2]), flags)
        return first, nullable or value[0] == 0
    if kind is op.BRANCH:
        firsts = [_first(_flat(branch), flags) for branch in value[1]]
        characters = 0
        for first, _ in firsts:
            characters |= first
        return characters, any(nullable for _, nullable in firsts)
    return ALL, True  # an assertion may read far before it fails


def _characters(kind: Any, value: Any, flags: int) -> int:
    if kind is op.ANY:
        return ALL if flags & re.DOTALL else ALL & ~NEWLINE
    if kind is op.LITERAL:
        return _cased(_range(value, value), flags)
    if kind is op.NOT_LITERAL:
        return ALL if flags & re.IGNORECASE or value >= LOW else ALL & ~(1 << value)
    negated = bool(value) and value[0][0] is op.NEGATE
    # of a class beyond LOW that is only in part in the set: in the first, not in the second
    characters = exactly = 0
    for item, what in value:
        if item is op.LITERAL:
            characters |= _range(what, what)
        elif item is op.RANGE:
            characters |= _range(*what)
        elif item is op.CATEGORY:
            characters |= _CATEGORIES[what]
            exactly |= _CATEGORIES[what] & HIGH
    if not negated:
        return _cased(characters, flags)
    if flags & (re.IGNORECASE | re.ASCII):
        return ALL
    return ALL & ~((characters & LOW_BITS) | exactly)


def _range(first: int, last: int) -> int:
    low = ((1 << (min(last, LOW - 1) + 1)) - 1) & ~((1 << first) - 1) if first < LOW else 0
    return low | (HIGH if last >= LOW else 0)


def _cased(characters: int, flags: int) -> int:
    if flags & re.ASCII and characters & HIGH:
        characters |= ALL  # the classes have a narrower meaning in that mode
    if not flags & re.IGNORECASE:
        return characters
    cased = characters | HIGH
    for code in range(LOW):
        if characters >> code & 1:
            for other in (chr(code).lower(), chr(code).upper(), chr(code).swapcase()):
                cased |= _range(ord(other), ord(other)) if len(other) == 1 else 0
    return cased


def _count(nodes: Sequence[Node]) -> int:
    """The nodes of a pattern, those within others included."""
    count = 0
    for kind, value in nodes:
        count += 1
        if kind is op.SUBPATTERN:
            count += _count(_flat(value[3]))
        elif kind is op.BRANCH:
            count += sum(_count(_flat(branch)) for branch in value[1])
        elif kind in _REPEATS:
            count += _count(_flat(value[2]))
    return count


__all__ = ["require_linear"]
