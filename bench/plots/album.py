"""The pictures of a report, by name."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from bench.goals import judge
from bench.others import Others
from bench.paper import Report
from bench.plots.cpu import cpu
from bench.plots.goals import costs, rates
from bench.plots.others import others
from bench.plots.recovery import recovery
from bench.plots.scale import scale
from bench.plots.style import DARK, LIGHT, THEMES, as_png


class Picture(Struct, frozen=True):
    """One picture, as PNG, for light and for dark paper."""

    name: str
    light: bytes
    dark: bytes


def album(report: Report, comparison: Others | None = None) -> list[Picture]:
    """All of them for which there are figures."""
    figures, verdicts = report.figures, judge(report.figures, report.scale)
    drawn = {
        theme.name: {
            "rates": rates(verdicts, theme),
            "others": None if comparison is None else others(comparison, theme),
            "costs": costs(verdicts, theme),
            "recovery": recovery(figures, verdicts, theme),
            "scale": scale(figures, theme),
            "cpu": cpu(figures, theme),
        }
        for theme in THEMES
    }
    return [
        Picture(name, as_png(light), as_png(dark))
        for name, light in drawn[LIGHT.name].items()
        if light is not None and (dark := drawn[DARK.name][name]) is not None
    ]


def keep_pictures(pictures: list[Picture], beside: Path) -> list[Path]:
    """Write them, for light paper, beside a file and called after it."""
    files = [beside.with_name(f"{beside.stem}-{picture.name}.png") for picture in pictures]
    for file, picture in zip(files, pictures, strict=True):
        file.write_bytes(picture.light)
    return files
