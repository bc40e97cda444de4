"""What a face is: everything in which one dialect of sessions over HTTP differs from another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ...chunks import Cursor, SessionInfo
from ...errors import StreamHubError
from ...formats.format import Format
from ..answers import Answered, not_found, problem_of
from ..asked import Asked
from ..queries import batch_of, cursor_of

__all__ = ["Face"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A dialect of sessions over HTTP, to hand to :class:`StreamResponse`.

    ``docs/writing-a-face.md`` shows how one is written.
    """

    #: What writes one response; called once for each, with its request.
    format: Callable[[Asked], Format]
    #: Where the client stands; None for the start. ``InvalidCursor`` becomes a refusal.
    cursor: Callable[[Asked], str | None] = cursor_of
    #: Whether the client wants what is stored joined into large chunks.
    batch: Callable[[Asked], bool] = batch_of
    #: The event types that the client wants, and how many of the newest chunks; None for all. Where
    #: chunks make a message together, as in a dialect of parts, all of them have to come.
    events: Callable[[Asked], Collection[str | None] | None] | None = None
    last: Callable[[Asked], int | None] | None = None
    #: Whether a session is one to follow, as it stands now; others are answered as missing.
    #: None for every session.
    follows: Callable[[SessionInfo], bool] | None = None
    #: The answer where there is no session.
    missing: Callable[[], Answered] = not_found
    #: The answer to who has all of a session that has ended; None to send the end again.
    complete: Callable[[], Answered] | None = None
    #: The answer where the session cannot be followed because of an error.
    refusal: Callable[[StreamHubError], Answered] = problem_of
    #: Tells clients after how many seconds to connect again; None where nothing can.
    retry: Callable[[float], bytes] | None = None
    #: A heartbeat that tells a client where it stands, which wants few of the chunks; None where
    #: nothing can.
    heartbeat: Callable[[Cursor], bytes] | None = None
    #: Of every response that follows a session.
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
