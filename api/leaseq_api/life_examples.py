"""The examples of the life of a task, and of notices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Raw, Struct

from leaseq.observability.meanings import meaning_of
from leaseq.operations.life.history import LifeLine
from leaseq.operations.life.lanes import LifeBar, LifeLane, LifeMark
from leaseq_api.life_schemas import LifeView, NoticePage, NoticeView

_TASK_ID = "01997b1c-8f2e-7c3a-9d41-5e6f7a8b9c0d"
_BEGAN = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def _at(seconds: float) -> datetime:
    return _BEGAN + timedelta(seconds=seconds)


LIFE_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "LifeView": {
        "lost": (
            "A task whose worker fell silent",
            LifeView(
                task_id=_TASK_ID,
                began=_BEGAN,
                ended=_at(14),
                now=_at(20),
                earlier=0,
                lanes=[
                    LifeLane(
                        name="attempt 1",
                        who="billing-7f9c on web-2",
                        bars=[
                            LifeBar(
                                kind="running",
                                began=_at(1),
                                ended=_at(4),
                                text="its worker was seen until 12:00:04",
                            ),
                            LifeBar(
                                kind="silent",
                                began=_at(4),
                                ended=_at(14),
                                text="silent for 10 s, then taken back",
                            ),
                        ],
                        marks=[LifeMark(kind="lost", at=_at(14), text="lost with its worker")],
                    )
                ],
                history=[LifeLine(text="attempt 1 started", when=_at(1))],
                replay_of=None,
                replayed_as=[],
            ),
        )
    },
    "NoticePage": {
        "fenced": (
            "An ending that was refused",
            NoticePage(
                notices=[
                    NoticeView(
                        notice_id=17,
                        at=_at(30),
                        name="attempt.fenced",
                        meaning=meaning_of("attempt.fenced"),
                        level="warning",
                        role="worker",
                        host="web-2",
                        pid=31,
                        queue=None,
                        task_id=_TASK_ID,
                        worker_id="billing-7f9c",
                        fields=Raw(b'{"attempt":1}'),
                        count=0,
                    )
                ],
                next_cursor=None,
            ),
        )
    },
}

__all__ = ["LIFE_EXAMPLES"]
