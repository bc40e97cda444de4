"""How a session is answered, whatever the request asks for: what every response takes."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Literal, TypedDict

from ..chunks import Cursor
from ..reading.only import Only
from ..reading.replay import parse_start
from ..stream import check_buffer
from .faces import FACES, Face

__all__ = ["UNBUFFERED", "FaceName", "Options", "Settings"]

FaceName = Literal["sse", "ndjson", "text"]

#: What keeps caches and proxies from holding back what is streamed.
UNBUFFERED = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}


class Options(TypedDict, total=False):
    """See :class:`streamhub.asgi.StreamResponse`."""

    face: FaceName | Face | None
    after: Cursor | str | None
    last: int | None
    events: Collection[str | None] | None
    batch_replay: bool
    buffer: int
    heartbeat: float
    retry: float | None
    on_reset: Callable[[], Awaitable[bool]] | None
    follow_next: bool
    show_errors: bool
    headers: Mapping[str, str] | None


class Settings:
    """The same, checked."""

    def __init__(
        self,
        *,
        face: FaceName | Face | None = None,
        after: Cursor | str | None = None,
        last: int | None = None,
        events: Collection[str | None] | None = None,
        batch_replay: bool = False,
        buffer: int = 256,
        heartbeat: float = 15.0,
        retry: float | None = None,
        on_reset: Callable[[], Awaitable[bool]] | None = None,
        follow_next: bool = False,
        show_errors: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """:raises ValueError, TypeError: one of them is none of what is allowed."""
        if isinstance(face, str):
            if face not in FACES:
                raise ValueError(f"face must be one of {', '.join(FACES)}, or a Face, not {face!r}")
            face = FACES[face]
        if not heartbeat > 0:
            raise ValueError(f"heartbeat must be a positive number of seconds, not {heartbeat!r}")
        if retry is not None and not 0 <= retry < math.inf:
            raise ValueError(f"retry must be a number of seconds, not {retry!r}")
        check_buffer(buffer)
        only = None if events is None else Only.of(events)
        if last is not None:
            parse_start(after, last, only)
        self.face = face
        self.after = after
        self.last = last
        self.events = events
        self.batch_replay = batch_replay
        self.buffer = buffer
        self.heartbeat = heartbeat
        self.retry = retry
        self.on_reset = on_reset
        self.follow_next = follow_next
        self.show_errors = show_errors
        #: Of every answer.
        self.headers: dict[str, str] = {
            name.lower(): value for name, value in (headers or {}).items()
        }

    @property
    def stream_headers(self) -> dict[str, str]:
        """Of an answer that follows a session, as far as they are known before its request."""
        face_headers = {} if self.face is None else self.face.headers
        return {**UNBUFFERED, **face_headers, **self.headers}
