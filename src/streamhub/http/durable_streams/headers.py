"""What the headers of an answer say: where a reader stands, and who may keep it how long."""

from __future__ import annotations

import random
import time

from starlette.requests import Request

from ...chunks import SessionInfo, Status
from ...formats.durable_messages import Shape
from ...formats.durable_streams import Offset, cursor_at_end, next_cursor
from ...serving.answers import NOT_STORED
from .address import query_of
from .asked import Asked
from .reader import Page

__all__ = [
    "SAFE",
    "STANDING_HEADERS",
    "cursor_of",
    "etag_of",
    "has_etag",
    "headers_of",
    "standing_headers",
]

#: Keep browsers from taking data for a page, and other sites from embedding it.
SAFE = {"x-content-type-options": "nosniff", "cross-origin-resource-policy": "same-origin"}

#: What pages of other sites have to be let see.
STANDING_HEADERS = (
    "Content-Location",
    "ETag",
    "Stream-Closed",
    "Stream-Cursor",
    "Stream-Next-Offset",
    "Stream-Up-To-Date",
    "Streamhub-Status",
)

_KEPT = "max-age=60, stale-while-revalidate=300"


def standing_headers(
    info: SessionInfo, shape: Shape, *, tail: Offset, closed: bool
) -> dict[str, str]:
    """How a stream stands, and its address: that of the request may come to mean another one."""
    headers = {
        **SAFE,
        "content-location": query_of(info.stream_id, shape.name),
        "content-type": shape.content_type,
        "stream-next-offset": str(tail),
        "streamhub-status": info.status.value,
    }
    if closed:
        headers["stream-closed"] = "true"
    return headers


def headers_of(page: Page, info: SessionInfo, asked: Asked, *, public: bool) -> dict[str, str]:
    """Of an answer with ``page``, but for its ETag."""
    headers = standing_headers(info, asked.shape, tail=page.next, closed=page.closed)
    headers["cache-control"] = _cache_control(page, asked, public=public)
    if page.up_to_date:
        headers["stream-up-to-date"] = "true"
    if not page.closed:
        headers["stream-cursor"] = cursor_of(asked)
    elif asked.live == "long-poll":
        headers["stream-cursor"] = cursor_at_end(time.time())
    return headers


def cursor_of(asked: Asked) -> str:
    return next_cursor(asked.cursor, time.time(), random.random())


def etag_of(page: Page, info: SessionInfo, asked: Asked) -> str:
    """Equal for equal answers: a page that ends elsewhere, or with the end, has another."""
    end = ":c" if page.closed else ""
    return f'"{info.stream_id}.{asked.shape.name}:{page.start}:{page.next}{end}"'


def has_etag(request: Request, etag: str) -> bool:
    """Whether the client has the answer of this ETag already."""
    named = ",".join(request.headers.getlist("if-none-match"))
    return etag in [one.strip().removeprefix("W/") for one in named.split(",")]


def _cache_control(page: Page, asked: Asked, *, public: bool) -> str:
    if asked.after == "now" or (asked.live is not None and not page.messages):
        return NOT_STORED["cache-control"]
    who = "public" if public else "private"
    # Without the name of a stream the start may be another one's a moment later; what is not there
    # yet may come; and what has ended may be gone on with, unless it is finished.
    moves = asked.stream_id is None and asked.after is None
    ended = page.closed and page.status is not Status.FINISHED
    if moves or ended or not (page.messages or page.closed):
        return f"{who}, no-cache"
    return f"{who}, {_KEPT}"
