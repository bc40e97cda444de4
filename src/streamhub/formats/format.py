"""What a format is: how chunks, an end and a reset look in one dialect."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ..chunks import Chunk, Cursor, SessionInfo

__all__ = ["Ending", "Format"]


class Ending(msgspec.Struct, frozen=True):
    """How a response ends: the ``status`` of the session, or why nothing more can be read.

    Beside the statuses of a session it can be ``replaced``, ``expired``, ``gone``, ``unavailable``
    or ``error``. ``error`` is the reason; a cancelled session has one if ``cancel`` was given one.
    """

    status: str
    cursor: Cursor | None
    error: str | None = None

    @property
    def quiet(self) -> bool:
        """Whether this is an end that the producer, or who cancelled it, meant."""
        return self.status in ("finished", "cancelled")


class Format(Protocol):
    """Writes one response. The order of the calls is ``begin``, then any number of ``chunk``; after
    a ``reset`` that has an answer the same again; at last ``end``, or nothing where the server
    shuts down first. Every method gives whole events or lines, as many as it likes.
    """

    @property
    def name(self) -> str:
        """What one process's encoded chunks are shared under."""
        ...

    @property
    def media_type(self) -> str:
        """Of the content type; the charset is UTF-8."""
        ...

    @property
    def heartbeat(self) -> bytes:
        """What readers skip; empty where the format has no such thing."""
        ...

    @property
    def explicit(self) -> bool:
        """Whether clients tell a response that just closes from one that has ended.

        If not, a response that a shutdown interrupts breaks its connection off.
        """
        ...

    @property
    def stateless(self) -> bool:
        """Whether a chunk looks the same in every response: it is encoded once for all of them.

        If so, one object may write all responses.
        """
        ...

    @property
    def over(self) -> bool:
        """Whether the response ends here, though its session may go on; False where the session's
        end is its own."""
        ...

    def begin(self, info: SessionInfo) -> bytes:
        """What comes before the first chunk; ``info`` has no metadata."""
        ...

    def chunk(self, chunk: Chunk) -> bytes: ...

    def reset(self, cursor: Cursor) -> bytes | None:
        """What was sent so far is void, and all comes again from ``cursor``; None where that cannot
        be said: the response ends as ``replaced``."""
        ...

    def end(self, ending: Ending) -> bytes | None:
        """The explicit end; None where it cannot be said: the response breaks off."""
        ...
