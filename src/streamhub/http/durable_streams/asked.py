"""What a request asks of a stream: how it is to be read, from where on, and whether it waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request

from ...chunks import Cursor
from ...formats.durable_messages import SHAPES, Shape
from ...formats.durable_streams import Offset
from ...serving.queries import bad_value

__all__ = ["Asked", "asked_of"]

Live = Literal["long-poll", "sse"]

#: The start, and the present end.
_START, _NOW = "-1", "now"


@dataclass(frozen=True)
class Asked:
    shape: Shape
    #: Which stream of the session; None for whichever it has.
    stream_id: str | None
    #: After what; None for the start.
    after: Offset | Literal["now"] | None
    live: Live | None
    #: What the client was told to send along.
    cursor: str | None

    @property
    def held(self) -> Cursor | None:
        """By what the client knows that the stream was there."""
        if isinstance(self.after, Offset):
            return self.after.cursor
        return self.start

    @property
    def start(self) -> Cursor | None:
        """What stands before the first chunk, where the address says so."""
        epoch = self.stream_id
        if epoch is None or not epoch.isdigit():
            return None
        cursor = Cursor(int(epoch), 0)
        return cursor if cursor.possible else None


def asked_of(request: Request, usual: str) -> Asked:
    """
    :param usual: how a stream is read where its address does not say.
    :raises BadRequest: something of it is none of what is allowed.
    """
    name = _one(request, "format") or usual
    if name not in SHAPES:
        raise bad_value("format", name, f"one of {', '.join(SHAPES)}")
    offset, live = _one(request, "offset"), _live_of(request)
    if offset is None and live is not None:
        raise bad_value("offset", "", f"given where live={live} is", "invalid_offset")
    return Asked(
        shape=SHAPES[name],
        stream_id=_one(request, "stream") or None,
        after=_place(offset),
        live=live,
        cursor=_one(request, "cursor"),
    )


def _live_of(request: Request) -> Live | None:
    match _one(request, "live"):
        case None:
            return None
        case "long-poll":
            return "long-poll"
        case "sse":
            return "sse"
        case other:
            raise bad_value("live", other, "long-poll or sse")


def _place(offset: str | None) -> Offset | Literal["now"] | None:
    if offset in (None, _START):
        return None
    if offset == _NOW:
        return "now"
    try:
        return Offset.parse(offset)
    except ValueError:
        allowed = f"one that a response has named, {_START} or {_NOW}"
        raise bad_value("offset", offset, allowed, "invalid_offset") from None


def _one(request: Request, name: str) -> str | None:
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise bad_value(name, ", ".join(values), "given once")
    return values[0] if values else None
