"""The versions of Python that leaseq supports, as its classifiers list them."""

from __future__ import annotations

import re
import tomllib

from support.source_tree import ROOT


def supported() -> list[str]:
    """The versions, oldest first: "3.11" and so on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = [
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", classifier)
        for classifier in project["classifiers"]
    ]
    return [match[1] for match in found if match]
