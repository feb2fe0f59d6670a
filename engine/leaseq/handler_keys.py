"""The unique keys of a task type: its rule, and the key of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from leaseq.errors import SubmissionInvalid
from leaseq.safe_text.exceptions import told
from leaseq.uniqueness import (
    KEYWORDS,
    UniqueKeyOf,
    UniqueOptions,
    UniqueRule,
    check_template,
    check_unique_key,
    fill_template,
    rule_of,
    to_fields,
)


def rule_of_type(options: Mapping[str, Any]) -> UniqueRule | None:
    """The rule in the keywords of `@app.task`; None where there is none. Raises `ValueError`."""
    chosen = {name: value for name, value in options.items() if name in KEYWORDS}
    default = None if options.get("unique_key") is None else UniqueRule()
    try:
        return rule_of(UniqueOptions(**to_fields(chosen)), default)
    except SubmissionInvalid as error:
        raise ValueError(f"@app.task: {error}") from None


def check_key_of_type(
    name: str, rule: UniqueRule | None, key: UniqueKeyOf | None, parameters: set[str]
) -> None:
    """Raise `ValueError` for a unique key that no submission can have."""
    if rule is not None and key is None:
        raise ValueError(
            f'handler {name}: give unique_key=, such as "sync:{{account}}" with the names of parameters'
        )
    if key is not None and not isinstance(key, str) and not callable(key):
        raise ValueError(
            f"handler {name}: unique_key= must be a template or a function, not {type(key).__name__}"
        )
    if isinstance(key, str):
        try:
            check_template(key, parameters=parameters)
        except ValueError as error:
            raise ValueError(f"handler {name}: {error}") from None


def unique_key_of(
    template: str,
    function: Callable[..., Any] | None,
    arguments: dict[str, Any],
    *,
    type_name: str,
) -> str:
    """The unique key of a call with these arguments. Raises `SubmissionInvalid`."""
    if function is None:
        return fill_template(template, arguments)
    try:
        key = function(**arguments)
    except Exception as error:
        raise SubmissionInvalid(
            f"the function unique_key= of {type_name} raised {told(error)}", field="unique_key"
        ) from error
    whence = f"the unique key, as the function unique_key= of {type_name} returned it,"
    return check_unique_key(key, whence=whence)


__all__ = ["check_key_of_type", "rule_of_type", "unique_key_of"]
