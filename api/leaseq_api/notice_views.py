"""Notices as HTTP and the command line show them."""

from __future__ import annotations

from leaseq.ledger.notices import NoticeListing, NoticeRecord
from leaseq.observability.meanings import meaning_of
from leaseq_api.life_schemas import NoticePage, NoticeView
from leaseq_api.schemas import Json

_MADE = ("meaning", "fields")


def notice_page(listing: NoticeListing) -> NoticePage:
    """A page of notices."""
    cursor = None if listing.cursor is None else str(listing.cursor)
    return NoticePage(notices=[notice_view(each) for each in listing.notices], next_cursor=cursor)


def notice_view(notice: NoticeRecord) -> NoticeView:
    """One notice, with what it means."""
    names = [name for name in NoticeView.__struct_fields__ if name not in _MADE]
    return NoticeView(
        **{name: getattr(notice, name) for name in names},
        meaning=meaning_of(notice.name),
        fields=Json(notice.fields),
    )


__all__ = ["notice_page", "notice_view"]
