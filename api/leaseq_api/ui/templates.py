"""The environment of the templates.

Everything that a template prints is escaped, and a name that is not given is an error. Whole pages
and their regions come from the same file, so a part that was fetched again is what a reload shows.
Characters that are not printable (controls, those of the writing direction) are shown as escapes.
The fields of forms keep their values (`exact`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from leaseq.safe_text.printable import printable
from leaseq_api.ui import wording
from leaseq_api.ui.menu import MENU
from leaseq_api.ui.static_files import address_of

FRAME = "frame.html"
# Line ends, and the spaces of numbers.
KEPT = "\n\t\u00a0\u202f"


def shown(value: Any) -> Any:
    """A value as pages show it."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(char if char in KEPT else printable(char) for char in value)


def exact(value: Any) -> Markup:
    """A value that a form sends back, as it is."""
    return escape(value)


@cache
def environment() -> Environment:
    """The environment of all pages. Templates are compiled once."""
    made = Environment(
        loader=PackageLoader("leaseq_api.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=shown,
        extensions=["jinja2.ext.do"],
    )
    made.filters |= {
        "age": wording.age,
        "brief": wording.brief,
        "rate": wording.rate,
        "share": wording.share,
        "clock": wording.clock,
        "compact": wording.compact,
        "cut": wording.cut,
        "exact": exact,
        "iso": wording.iso,
        "number": wording.number,
        "segment": wording.segment,
    }
    made.globals |= {
        "MENU": MENU,
        "SIGNS": wording.SIGNS,
        "UNKNOWN": wording.UNKNOWN,
        "VERSION": version("leaseq"),
        "static": address_of,
    }
    # A region alone does not run the imports of its template.
    made.globals["ui"] = made.get_template("macros.html").module
    return made


def render(name: str, values: Mapping[str, Any]) -> str:
    """A whole document."""
    return environment().get_template(name).render(values)


def render_region(name: str, region: str, values: Mapping[str, Any]) -> str | None:
    """One region, as it is within the page: the block `live_REGION` of this template or of the frame.
    None: neither has it."""
    for template in (environment().get_template(each) for each in (name, FRAME)):
        block = template.blocks.get(f"live_{region}")
        if block is not None:
            return "".join(block(template.new_context(dict(values)))).strip()
    return None


__all__ = ["environment", "exact", "render", "render_region", "shown"]
