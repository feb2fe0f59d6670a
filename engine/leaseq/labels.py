"""Labels of a task: names and values that a client gives with a submission.

They are for finding tasks, and no part of what a handler gets. A label is written `name=value` in a
query and on the command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from leaseq.errors import SubmissionInvalid

MAX_LABELS = 16
# Labels that one list asks for. Each is looked up for every task that has the first.
MAX_ASKED = 4
NAME_PATTERN = "[A-Za-z0-9_.-]{1,64}"
VALUE_MAX_LENGTH = 128
# In the document; as a query has it.
LABEL_PATTERN = f"^{NAME_PATTERN}=[^\\u0000]{{1,{VALUE_MAX_LENGTH}}}$"
_NAME = re.compile(NAME_PATTERN)

# For lists: the names and values that a task must all have.
Labels = Mapping[str, str]


def check_labels(labels: Any) -> dict[str, str] | None:
    """The labels of a submission, by name. None: it has none. Raises `SubmissionInvalid`."""
    if not isinstance(labels, Mapping):
        raise SubmissionInvalid(
            "labels must be an object of texts, as in {'account': '42'}", field="labels"
        )
    if len(labels) > MAX_LABELS:
        raise SubmissionInvalid(
            f"a task has at most {MAX_LABELS} labels, not {len(labels)}", field="labels"
        )
    for name, value in labels.items():
        if (fault := fault_of(name, value)) is not None:
            raise SubmissionInvalid(fault, field="labels")
    return dict(labels) or None


def fault_of(name: Any, value: Any) -> str | None:
    """The reason why a label is refused, in one sentence without its value. None: it is not."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"the name of a label must be 1 to 64 characters of A-Z a-z 0-9 _ . -, not {str(name)[:80]!r}"
    if not isinstance(value, str):
        return f"the value of the label {name} must be a text"
    if not 1 <= len(value) <= VALUE_MAX_LENGTH:
        return f"the value of the label {name} must have 1 to {VALUE_MAX_LENGTH} characters, not {len(value)}"
    if "\0" in value:
        return f"the value of the label {name} contains U+0000, which Postgres cannot store"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"the value of the label {name} contains an unpaired surrogate, which is not a character"
    return None


def parse_labels(texts: Sequence[str], *, most: int) -> dict[str, str]:
    """Labels from texts `name=value`. A value may contain `=`. Raises `ValueError`."""
    labels: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"a label is written name=value, as in account=42, not {text[:80]!r}")
        if (fault := fault_of(name, value)) is not None:
            raise ValueError(fault)
        if labels.setdefault(name, value) != value:
            raise ValueError(f"the label {name} was given with two values")
    if len(labels) > most:
        raise ValueError(f"at most {most} labels may be given here, not {len(labels)}")
    return labels


__all__ = [
    "LABEL_PATTERN",
    "MAX_ASKED",
    "MAX_LABELS",
    "NAME_PATTERN",
    "VALUE_MAX_LENGTH",
    "Labels",
    "check_labels",
    "fault_of",
    "parse_labels",
]
