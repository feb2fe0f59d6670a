"""Access files of a server that runs under another account.

Postgres refuses root, so a root process starts it under an ordinary account, which owns the
directory of the server. That account can replace every file there with a link, and so can its
superuser in SQL (`copy ... to program`). If root opened, changed or renamed a file there by its
path, it would follow the link with the rights of root.

Invariant: only a program that runs under the account of the server touches anything below the
server's directory.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from leaseq.embedded.directories import Account
from leaseq.embedded.processes import run_as
from leaseq.errors import ServerUnfit, ServerUnreachable

__all__ = ["Files"]

# POSIX programs, because the account may not be able to run our Python (an environment below
# /root).
READ = '[ -f "$1" ] && cat -- "$1"'
WRITE = 'rm -f -- "$1" && umask 077 && cat > "$1"'
OWN_DIRECTORY = 'mkdir -m 700 -- "$1" 2>/dev/null; [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] && chmod 700 -- "$1"'
HAS_DIRECTORY = '[ -d "$1" ]'
REMOVE = 'rm -rf -- "$@"'
REMOVE_SOCKETS = 'rm -f -- "$1"/.s.PGSQL.*'
RENAME = 'mv -- "$1" "$2"'


class Files(Struct, frozen=True):
    """The file operations of one account."""

    account: Account

    def read(self, path: Path) -> str | None:
        """The text of a file; None if the account can read no such file."""
        done = run_as(self.account, _shell(READ, path))
        return done.stdout if done.returncode == 0 else None

    def write(self, path: Path, text: str) -> None:
        """Write a file that only the account may read, and replace any file of this name."""
        self._do(WRITE, path, given=text)

    def make_directory(self, path: Path) -> None:
        """Make or find a directory that only the account may enter. Raises ServerUnfit if another
        account made it."""
        if run_as(self.account, _shell(OWN_DIRECTORY, path)).returncode != 0:
            raise ServerUnfit(
                f"{path} belongs to another account, or cannot be made: remove it, or choose another LEASEQ_DATA_DIR"
            )

    def has_directory(self, path: Path) -> bool:
        return run_as(self.account, _shell(HAS_DIRECTORY, path)).returncode == 0

    def remove(self, *paths: Path) -> None:
        """Delete those of these files and directories that exist."""
        self._do(REMOVE, *paths)

    def remove_sockets(self, directory: Path) -> None:
        """Delete the sockets of a Postgres that is not running, and the locks beside them."""
        self._do(REMOVE_SOCKETS, directory)

    def rename(self, path: Path, to: Path) -> None:
        self._do(RENAME, path, to)

    def _do(self, script: str, *paths: Path, given: str = "") -> None:
        done = run_as(self.account, _shell(script, *paths), given=given)
        if done.returncode != 0:
            raise ServerUnreachable(
                f"the files of the embedded server: {done.stderr.strip() or 'a program failed'}"
            )


def _shell(script: str, *paths: Path) -> list[str | Path]:
    return ["/bin/sh", "-c", script, "leaseq", *paths]
