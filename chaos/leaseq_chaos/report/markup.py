"""Write pieces of HTML.

Everything that comes from outside passes through `text` or an attribute, and both escape: a payload
or an error in the evidence cannot become markup. The type says which strings have been through.
"""

from __future__ import annotations

from collections.abc import Iterable

from leaseq.safe_text.markup import HTML, element, joined, text

__all__ = ["HTML", "badge", "columns", "element", "joined", "span", "table", "text"]


def span(words: object, class_: str | None = None, **attributes: object) -> HTML:
    return element("span", text(words), class_=class_, **attributes)


def badge(verdict: str) -> HTML:
    """A verdict, shown by sign and word and not only by its colour."""
    sign = {"valid": "✓", "invalid": "✕"}.get(verdict, "?")
    return element(
        "span", span(sign, "sign", aria_hidden="true"), text(verdict), class_=f"badge is-{verdict}"
    )


def columns(*names: str) -> list[HTML]:
    """The heads of a table. One that begins with # stands over numbers."""
    return [
        element("th", text(name.lstrip("#")), scope="col", class_="n" if name[:1] == "#" else None)
        for name in names
    ]


def table(heads: Iterable[HTML], rows: Iterable[HTML], *, caption: str, class_: str = "") -> HTML:
    """A table whose heads and rows are ready, in a frame that scrolls separately if the page is
    narrow."""
    head = element("thead", element("tr", *heads))
    whole = element(
        "table",
        element("caption", text(caption)),
        head,
        element("tbody", *rows),
        class_=class_ or None,
    )
    return element("div", whole, class_="frame", tabindex="0", role="region", aria_label=caption)
