"""What a face is: everything in which one dialect of sessions over HTTP differs from another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response

from ...chunks import SessionInfo
from ...errors import StreamHubError
from ...formats.format import Format
from ..problems import not_found, problem_of
from ..queries import batch_of, cursor_of

__all__ = ["Face"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A dialect of sessions over HTTP, to hand to :class:`StreamResponse`.

    ``docs/writing-a-face.md`` shows how one is written.
    """

    #: What writes one response; called once for each, with its request.
    format: Callable[[Request], Format]
    #: Where the client stands; None for the start. ``InvalidCursor`` becomes a refusal.
    cursor: Callable[[Request], str | None] = cursor_of
    #: Whether the client wants what is stored joined into large chunks.
    batch: Callable[[Request], bool] = batch_of
    #: Whether a session is one to follow, as it stands now; others are answered as missing.
    #: None for every session.
    follows: Callable[[SessionInfo], bool] | None = None
    #: The answer where there is no session.
    missing: Callable[[], Response] = not_found
    #: The answer to who has all of a session that has ended; None to send the end again.
    complete: Callable[[], Response] | None = None
    #: The answer where the session cannot be followed because of an error.
    refusal: Callable[[StreamHubError], Response] = problem_of
    #: Tells clients after how many seconds to connect again; None where nothing can.
    retry: Callable[[float], bytes] | None = None
    #: Of every response that follows a session.
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
