"""Write pieces of HTML and SVG.

Everything that comes from outside passes through `text` or an attribute, and both escape: a payload
or an error cannot become markup. The type says which strings have been through. Characters that XML
does not allow are written as Python escapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

__all__ = ["HTML", "element", "joined", "text"]


class HTML(str):
    """Markup. A template that escapes everything else prints it as it is (`__html__`)."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def text(words: object) -> HTML:
    """Words as they are, made harmless."""
    return HTML(escape(str(words)))


def joined(pieces: Iterable[HTML], between: str = "") -> HTML:
    """Pieces with words between them."""
    return HTML(escape(between).join(pieces))


def element(name: str, *inside: HTML, **attributes: object) -> HTML:
    """One element. `class_` is written class and `aria_label` aria-label; an attribute that is None
    or False is left out."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return HTML(f"<{name}{written}>{''.join(inside)}</{name}>")
