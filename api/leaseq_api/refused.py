"""The error of a request that the API itself refuses."""

from __future__ import annotations


class Refused(Exception):
    """A request that is refused before leaseq is asked. `code` is one of `problems.KINDS`."""

    def __init__(self, code: str, detail: str, **members: str) -> None:
        super().__init__(detail)
        self.code = code
        self.members = members


__all__ = ["Refused"]
