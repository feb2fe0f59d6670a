"""Choose the account and the directory of an embedded server.

Postgres refuses to run as root, so under root it runs as `nobody`, which must be able to reach its
files. Invariants: a server's files lie in a directory that only its account may enter. Permissions
of directories that we did not make are never changed. If the account cannot reach the requested
directory (a checkout below /root, say), the files lie in /var/tmp instead, and a file called
`elsewhere` in the requested directory names that location.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from msgspec import Struct

from leaseq.errors import ServerUnfit

__all__ = [
    "Account",
    "ServerDirectories",
    "can_walk_to",
    "give",
    "our_account",
    "prepare_directories",
    "private_directory",
    "server_account",
    "socket_directory",
]

FALLBACK_ROOT = Path("/var/tmp")
# The path of a unix socket must fit 107 bytes (sun_path without the final zero); on some systems
# 103.
SOCKET_PATH_BYTES = 100


class Account(Struct, frozen=True):
    """The account that runs a server. `foreign`: it is not the account of this process."""

    uid: int
    gid: int
    foreign: bool


class ServerDirectories(Struct, frozen=True):
    """The directories of one server: `requested` is ours and holds the locks, `files` belongs to
    the account."""

    requested: Path
    files: Path
    account: Account

    def remove(self) -> None:
        """Delete all files of the server, which must not be running."""
        shutil.rmtree(socket_directory(self, name=""), ignore_errors=True)
        if self.files.parent != self.requested:
            shutil.rmtree(self.files.parent, ignore_errors=True)
        shutil.rmtree(self.requested, ignore_errors=True)


def our_account() -> Account:
    return Account(uid=os.geteuid(), gid=os.getegid(), foreign=False)


def server_account() -> Account:
    """The account for a server that refuses root: our own, or `nobody` if we are root."""
    if os.geteuid() != 0:
        return our_account()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ServerUnfit(
            "Postgres cannot run as root, and there is no account `nobody`: set LEASEQ_POSTGRES_URL"
        ) from None
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid, foreign=True)


def prepare_directories(directory: Path, *, account: Account) -> ServerDirectories:
    """Make or find `directory`, and in it or elsewhere a directory that belongs to `account`
    alone."""
    requested = directory.absolute()
    if not requested.is_dir():
        requested.mkdir(parents=True, exist_ok=True)
        requested.chmod(0o711 if account.foreign else 0o700)
    home = requested if can_walk_to(requested, account=account) else _fallback_home(requested)
    files = home / "server"
    private_directory(files, account=account)
    return ServerDirectories(requested=requested, files=files, account=account)


def can_walk_to(path: Path, *, account: Account) -> bool:
    """Whether `account` may enter `path` and all its parents, judged by the plain permission
    bits."""
    return not account.foreign or all(
        parent.stat().st_mode & stat.S_IXOTH for parent in (path.resolve(), *path.resolve().parents)
    )


def private_directory(path: Path, *, account: Account) -> None:
    """Make `path` with mode 0700 for `account`. Refuse one that another account made there."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (account.uid, os.geteuid()):
            raise ServerUnfit(
                f"{path} belongs to another account: remove it, or choose another LEASEQ_DATA_DIR"
            ) from None
    give(path, account=account)


def give(path: Path, *, account: Account) -> None:
    """Give `path` to the account."""
    if account.foreign:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def socket_directory(directories: ServerDirectories, *, name: str) -> Path:
    """A directory for the unix socket called `name`: beside the data, or in /tmp if that path is
    too long."""
    near = directories.files / "socket"
    if len(os.fsencode(near / name)) <= SOCKET_PATH_BYTES and name:
        return near
    token = hashlib.sha256(os.fsencode(directories.files)).hexdigest()[:16]
    return Path(f"/tmp/leaseq-{directories.account.uid}-{token}")


def _fallback_home(requested: Path) -> Path:
    note = requested / "elsewhere"
    if note.is_file():
        home = Path(note.read_text(encoding="utf-8").strip())
        if _is_fallback_home(home):
            return home
    # The name is random, so that deleting the requested directory really starts from empty data.
    home = Path(tempfile.mkdtemp(prefix="leaseq-", dir=FALLBACK_ROOT))
    home.chmod(0o711)
    note.write_text(f"{home}\n", encoding="utf-8")
    return home


def _is_fallback_home(home: Path) -> bool:
    """Whether a note leads to a directory that we would make, and not to another one of ours (the
    note may be forged)."""
    if home.parent != FALLBACK_ROOT or not home.name.startswith("leaseq-") or not home.is_dir():
        return False
    return not home.is_symlink() and home.stat().st_uid == os.geteuid()
