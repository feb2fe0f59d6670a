"""The error of a request that the API itself refuses."""

from __future__ import annotations

from collections.abc import Sequence


class Refused(Exception):
    """A request that is refused before leaseq is asked. `code` is one of `problems.KINDS`.

    `retry_after` is in seconds, and `headers` are further ones of the answer.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retry_after: int | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        **members: str,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.members = members
        self.headers = list(headers)
        if retry_after is not None:
            self.headers.append((b"retry-after", b"%d" % retry_after))


__all__ = ["Refused"]
