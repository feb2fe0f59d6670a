"""Patterns of annotations: only those that run in linear time are taken."""

from __future__ import annotations

import random
import re
from time import process_time

import pytest

from leaseq.payloads.patterns import require_linear

LINEAR = [
    "",
    "^",
    "@",
    "abc",
    r"\d+",
    r"^[A-Z]{3}-\d+$",
    "^[a-z0-9_-]+$",
    r"^\d{4}-\d{2}-\d{2}$",
    r"^[^@]+@[^@.]+(\.[^@.]+)+$",
    "^(a|b|c)*$",
    "^[0-9a-f]{8}-[0-9a-f]{4}$",
    r"^(?!foo)\w+$",
    "(?i)^abc$",
    r"^\s*\w+\s*$",
    r"^https?://[^\s]+$",
    "^.{1,100}$",
    "^(foo|bar)?$",
    "^(foo|far)+$",
    "^[a-z]+(-[a-z]+)*$",
    r"^\+?[1-9]\d{1,14}$",
    "^(?>a+)b$",
    r"\.(jpg|png)$",
    "^a++b$",
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$",
    r"^[\w.-]+$",
    "(?s)^.*$",
    r"^\w{3,20}$",
    r"\A[a-z]+\Z",
    "^x*?y$",
    "(?i:ab)c",
]
BACKTRACKING = [
    "^(a+)+$",
    "(a|a)*$",
    "^(a|aa)+$",
    r"^(\w+\s?)*$",
    r"\s+$",
    r"^[^@]+@[^@]+\.[^@]+$",
    "^.*a.*b$",
    "(x+x+)+y",
    "^(a*)*$",
    r"(.*)\1",
    "a*b",
    r"^\w{1,100}\w{1,100}\w{1,100}$",
    "^(?=.*a)(?=.*b).*c.*d$",
    "^[a-z]+(?=.*x)@",
    "^(a?){30}a{30}$",
    r"\S+@\S+",
    r"^\d+\d+$",
    "^(?:a{1,1000}){1,1000}b",
    "^(.*,){10}P",
    "(?i)^[a-z]+K$(?:K)*x*x*y",
    "(?m)^.*x",
    r"^(?:[a-z]+\d*)*$",
    "(a+)(?(1)b|c)",
    "^(?:(?=.*x)a)*$",
]


@pytest.mark.parametrize("pattern", LINEAR)
def test_linear_pattern_is_accepted(pattern: str) -> None:
    require_linear(pattern)


@pytest.mark.parametrize("pattern", BACKTRACKING)
def test_backtracking_pattern_is_refused_in_one_line(pattern: str) -> None:
    with pytest.raises(ValueError, match="may take more than linear time") as refused:
        require_linear(pattern)
    assert "\n" not in str(refused.value)


def test_refusing_a_pattern_is_quick() -> None:
    began = process_time()
    for pattern in (
        "(" * 40 + "a+" + ")+" * 40,
        "(a{1,99999}){1,99999}" * 20,
        "[a-z]*" * 500,
        "a|" * 2000 + "b",
    ):
        try:
            require_linear(pattern)
        except ValueError:
            continue
    assert process_time() - began < 5


def _generate(rng: random.Random, depth: int) -> str:
    choice = rng.random()
    if depth == 0 or choice < 0.35:
        return rng.choice(["a", "b", "[ab]", "[^a]", r"\w", r"\d", ".", "1", r"\s"])
    one, other = _generate(rng, depth - 1), _generate(rng, depth - 1)
    if choice < 0.55:
        return one + other
    if choice < 0.65:
        return f"(?:{one}|{other})"
    if choice < 0.9:
        return f"(?:{one})" + rng.choice(
            ["*", "+", "?", "{2,5}", "*?", "+?", "{3}", "{1,40}", "*+"]
        )
    return rng.choice(["(?={})", "(?>{})", "(?i:{})"]).format(one)


def test_generated_patterns_that_are_taken_do_not_backtrack() -> None:
    """On texts for which one in three patterns that are refused take seconds."""
    rng = random.Random(20)
    length, taken = 4000, 0
    texts = [
        (body * length)[:length] + end
        for body in ("a", "1", "ab", "ba ", "aab")
        for end in ("", "!", "\n", "b!")
    ]
    for _ in range(1500):
        pattern = rng.choice(["^", "^", ""]) + _generate(rng, 4) + rng.choice(["$", "", "!"])
        try:
            require_linear(pattern)
            compiled = re.compile(pattern)
        except (ValueError, re.error):
            continue
        taken += 1
        began = process_time()
        for text in texts:
            compiled.search(text)
        # A quadratic pattern takes eight million steps for one text.
        assert process_time() - began < 0.5, pattern
    assert taken > 300
