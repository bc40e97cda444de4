"""A reply for threads: the same pieces, each waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from .. import sync
from ..errors import HubClosed
from ..sync.background import Background, in_thread
from .answers import not_found, nothing
from .asked import Asked
from .departures import stays_of
from .reply import BrokenOff, Reply
from .settings import Settings

__all__ = ["ThreadReply"]

# How often it is looked whether the client is still there, in seconds.
_LOOK = 1.0


class ThreadReply(Iterator[bytes]):
    """:class:`streamhub.serving.Reply` for threads: ``body`` is a whole answer, or None; then it is
    an iterator of pieces, heartbeats among them. To be closed.

    Iterating ends early where the client has gone, and raises :class:`BrokenOff` at the end of what
    may not look complete.
    """

    def __init__(
        self, background: Background, reply: Reply, stays: Callable[[], bool] | None = None
    ) -> None:
        self.status_code: int = reply.status_code
        self.headers: list[tuple[str, str]] = reply.headers
        self.body: bytes | None = reply.body
        self.background = background
        self.reply = reply
        self._stays = stays
        self._begun = False
        self._closed = False

    @classmethod
    def open(
        cls,
        hub: sync.Hub,
        session_id: str,
        asked: Asked,
        settings: Settings,
        *,
        wait: float | None,
        allow: Callable[[], bool] | None = None,
        environ: Mapping[str, Any] | None = None,
    ) -> ThreadReply:
        """Find the session, and what there is to send at once; see :meth:`Reply.open`.

        :param wait: for how many seconds, for one that is not there.
        :param allow: whether the client may read the session: refused, it is answered as one that
            is not there. Asked again, in another thread, where the session begins anew.
        :param environ: by which the server shows whether the client is still there.
        """
        stays = None if environ is None else stays_of(environ)

        if allow is not None and settings.on_reset is None:
            settings.on_reset = partial(in_thread, allow)

        async def open_it() -> Reply:
            return await Reply.open(hub.hub.get(session_id, wait=wait), asked, settings)

        try:
            if stays is None:
                reply: Reply | None = hub.background.call(open_it)
            else:
                reply = hub.background.call_while(stays, _LOOK, open_it)
        except HubClosed as error:
            reply = Reply.refusal(error, asked, settings)
        opened = cls(hub.background, reply or Reply.whole(nothing(), settings), stays)
        # After the look: what is not there all may look for, and is somebody's a moment later.
        try:
            allowed = allow is None or allow()
        except BaseException:
            opened.close()
            raise
        if allowed:
            return opened
        opened.close()
        return cls(hub.background, Reply.whole(not_found(), settings))

    def __next__(self) -> bytes:
        if self._closed:
            raise StopIteration
        try:
            piece = self._piece()
        except HubClosed as error:
            self.reply.end(error)
            piece = None
        if self._closed:
            # By another thread, to which this one owes no end.
            raise StopIteration
        if piece is None:
            self.close()
            if self.reply.broken:
                raise BrokenOff
            raise StopIteration
        if not self._begun:
            # Some servers keep the headers back until there is a body.
            self._begun = True
            return piece or self.reply.heartbeat
        return piece

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self._closed = True
        with suppress(HubClosed):
            self.background.call_last(self.reply.aclose)

    def _piece(self) -> bytes | None:
        if self._stays is None:
            return self.background.call(self.reply.next)
        return self.background.call_while(self._stays, _LOOK, self.reply.next)
