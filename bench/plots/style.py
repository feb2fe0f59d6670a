"""The themes of the pictures, light and dark, in the colours of Okabe and Ito.

Nearly all readers can distinguish these colours.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patheffects import withStroke
from msgspec import Struct

DOTS_PER_INCH = 160
WIDTH = 9.0


class Theme(Struct, frozen=True):
    """Colours by what they mean: ours, the goal, the others; text, and lines that should not be
    noticed."""

    name: str
    paper: str
    ink: str
    quiet: str
    line: str
    ours: str
    goal: str
    others: str
    parts: tuple[str, ...]


LIGHT = Theme(
    name="light", paper="#ffffff", ink="#1f2328", quiet="#656d76", line="#d8dee4",
    ours="#0072b2", goal="#d55e00", others="#8c959f",
    parts=("#0072b2", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#8c959f"),
)  # fmt: skip
DARK = Theme(
    name="dark", paper="#0d1117", ink="#e6edf3", quiet="#9198a1", line="#30363d",
    ours="#56b4e9", goal="#f0a13c", others="#7d8590",
    parts=("#56b4e9", "#e69f00", "#3d7fc4", "#2bb58c", "#d78fb8", "#7d8590"),
)  # fmt: skip
THEMES = (LIGHT, DARK)


def canvas(theme: Theme, *, height: float) -> Canvas:
    """An empty picture. Its height is in inches."""
    return Canvas(figsize=(WIDTH, height), facecolor=theme.paper, layout="constrained")


def bare(axes: Axes, theme: Theme, *, title: str) -> None:
    """Only what says something: a title, and no frame."""
    axes.set_facecolor(theme.paper)
    axes.set_title(title, loc="left", color=theme.ink, fontsize=11, fontweight="bold", pad=12)
    axes.tick_params(colors=theme.quiet, labelsize=8.5, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def readable_on(colour: str) -> str:
    """Black or white, the one with more contrast (by relative luminance, roughly as WCAG defines
    it)."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return "#ffffff" if 0.21 * red**2.2 + 0.72 * green**2.2 + 0.07 * blue**2.2 < 0.2 else "#101418"


def say(
    axes: Axes, text: str, at: tuple[float, float], offset: tuple[float, float], **look: Any
) -> None:
    """Words at a place of the data, moved by so many points, with a rim of paper to be read across
    lines."""
    rim = withStroke(linewidth=2.5, foreground=axes.get_facecolor())
    chosen: dict[str, Any] = {"va": "center", "fontsize": 8.5, "path_effects": [rim]} | look
    axes.annotate(text, at, offset, textcoords="offset points", **chosen)


def as_png(picture: Canvas) -> bytes:
    """The file, the same for the same picture."""
    data = BytesIO()
    picture.savefig(
        data,
        format="png",
        dpi=DOTS_PER_INCH,
        facecolor=picture.get_facecolor(),
        metadata={"Software": None},
    )
    return data.getvalue()
