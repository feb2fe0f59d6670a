"""The rule and the key of a unique, debounced or throttled submission."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from leaseq.errors import SubmissionInvalid
from leaseq.model import Submission, TypeDefaults
from leaseq.options import NO_OPTIONS, SubmitOptions, unique_options
from leaseq.uniqueness import (
    BY_FUNCTION,
    UniqueKey,
    UniqueOptions,
    UniqueRule,
    check_unique_key,
    fill_template,
    rule_of,
)

FIELDS = ("unique_key", *UniqueOptions.__struct_fields__)
NONE = (None,) * len(FIELDS)
_values = attrgetter(*FIELDS)


def has_unique_options(options: SubmitOptions) -> bool:
    """Whether a submission asks for one of these rules, or has a key for that of its type."""
    return options is not NO_OPTIONS and _values(options) != NONE


def unique_fields(options: SubmitOptions) -> dict[str, Any]:
    """The options of the rule and of the key that are given, by name, for a fingerprint."""
    given = dict(zip(FIELDS, _values(options), strict=True))
    return {
        name: value if value is None or isinstance(value, str) else float(value)
        for name, value in given.items()
        if value is not None
    }


def with_unique(
    submission: Submission,
    options: SubmitOptions,
    defaults: TypeDefaults,
    content: Any,
    of_handler: str | None,
) -> Submission:
    """A submission with its key and rule. `of_handler`: the key that the handler has made. Raises
    `SubmissionInvalid`."""
    default = defaults.unique or (None if options.unique_key is None else UniqueRule())
    rule = rule_of(unique_options(options), default) or UniqueRule()
    if rule.hold == "debounce" and (
        options.delay_seconds is not None or options.run_at is not None
    ):
        raise SubmissionInvalid(
            "a debounced task is due debounce_seconds after the last submission: omit delay_seconds "
            "and run_at",
            field="debounce_seconds",
        )
    unique = UniqueKey(_key(options, defaults, content, of_handler), rule)
    delay = submission.delay_seconds if rule.delay_seconds is None else rule.delay_seconds
    return replace(submission, unique=unique, delay_seconds=delay)


def _key(
    options: SubmitOptions, defaults: TypeDefaults, content: Any, of_handler: str | None
) -> str:
    if options.unique_key is not None:
        return check_unique_key(options.unique_key, whence="unique_key")
    if of_handler is not None:
        return of_handler
    template = defaults.unique_key
    if template is None:
        raise SubmissionInvalid(
            "give unique_key: it says which submissions are about the same work", field="unique_key"
        )
    if template != BY_FUNCTION and isinstance(content, dict):
        try:
            return fill_template(template, content)
        except KeyError as error:
            missing = f"the field {error.args[0]!r} of the payload"
    else:
        missing = "a function" if template == BY_FUNCTION else "the payload"
    raise SubmissionInvalid(
        f"the unique key comes from {missing}, which is not available here: give unique_key",
        field="unique_key",
    )


__all__ = ["has_unique_options", "unique_fields", "with_unique"]
