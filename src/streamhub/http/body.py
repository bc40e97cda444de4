"""What one client is sent: every chunk after its cursor, then the end; across epochs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ..chunks import Chunk, Cursor, Status
from ..errors import (
    HubClosed,
    ProducerFailed,
    ProducerLost,
    SessionNotFound,
    StoreUnavailable,
    StreamHubError,
    StreamReplaced,
)
from ..formats.endings import ending_of
from ..formats.format import Ending, Format
from ..reading.subscription import Subscription
from ..stream import LiveStream
from .encode_once import Encoding
from .problems import STORE_AWAY

__all__ = ["Follower"]

# What is encoded at once, in characters: a client that does not read holds no more than this.
_ROW = 64 * 1024
_ENDED = frozenset({Status.FINISHED, Status.FAILED, Status.CANCELLED})


class Follower:
    """Turns a subscription into the bytes of one response.

    :param on_reset: whether a new epoch may be sent; asked when it begins.
    :param shared: whether others in this process send the same in the same format, so that it
        need not be encoded again.
    """

    def __init__(
        self,
        stream: LiveStream,
        format_: Format,
        *,
        after: Cursor | str | None,
        batch: bool,
        buffer: int,
        shared: bool,
        on_reset: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """:raises InvalidCursor: ``after`` is malformed."""
        self._stream = stream
        self._format = format_
        self._batch = batch
        self._buffer = buffer
        self._shared = shared
        self._on_reset = on_reset
        self._encoding: Encoding | None = None
        self._resumes = after is not None and after != "now"
        self._subscription = self._subscribe(after)
        self._fresh = True
        # Taken, and not sent yet.
        self._ready: Sequence[Chunk] = ()
        # By what was read so far, until the client knows.
        self._replaced: StreamReplaced | None = None
        #: Whether nothing more is to be sent.
        self.over = False
        #: Whether the end could not be said, so that the response is to break off.
        self.broken = False

    async def open(self) -> bytes | None:
        """What there is to send at once, maybe nothing yet; None for a client that has all of an
        ended session.

        :raises StreamHubError: there is nothing to follow, or not from there.
        """
        try:
            info = await self._subscription.open()
            stored = self._subscription.cursor != info.last
            if self._resumes and not stored and info.status in _ENDED:
                return None
            return self._row(await self._subscription.take()) if stored else b""
        except StreamReplaced as replaced:
            self._begin_anew(replaced)
            return await self._begun()
        except (ProducerFailed, ProducerLost) as error:
            return self.end(error)

    async def next(self) -> bytes:
        """What comes next, as soon as there is something; sets ``over`` with the last of it.

        Safe to cancel: nothing is lost by it.
        """
        try:
            if self._replaced is None:
                try:
                    return self._row(self._ready or await self._subscription.take())
                except StreamReplaced as replaced:
                    self._begin_anew(replaced)
            return await self._begun()
        except StreamHubError as error:
            return self.end(error)

    def end(self, error: StreamHubError) -> bytes:
        """The end that ``error`` is. Says nothing of servers behind this one."""
        if isinstance(error, HubClosed):
            # No end of the session: the client is to ask again, elsewhere.
            self.over, self.broken = True, not self._format.explicit
            return b""
        status, reason = ending_of(error)
        if isinstance(error, StoreUnavailable):
            reason = STORE_AWAY
        return self._say(Ending(status, self._subscription.cursor, reason))

    async def aclose(self) -> None:
        await self._subscription.aclose()

    # -- parts -------------------------------------------------------------------------------

    def _subscribe(self, after: Cursor | str | None) -> Subscription:
        return self._stream.subscribe(after=after, batch_replay=self._batch, buffer=self._buffer)

    def _row(self, chunks: Sequence[Chunk]) -> bytes:
        """What is sent of ``chunks`` at once; none of them is the end."""
        if not chunks:
            return self._say(Ending(self._subscription.status.value, self._subscription.cursor))
        end = _row_end(chunks)
        row, self._ready = (chunks, ()) if end == len(chunks) else (chunks[:end], chunks[end:])
        fresh, self._fresh = self._fresh, False
        if not self._shared or (fresh and self._batch):
            return b"".join([self._format.chunk(chunk) for chunk in row])
        if self._encoding is None:
            self._encoding = self._subscription.shared(
                ("http", self._format.name), lambda: Encoding(self._format)
            )
        return self._encoding.encode(row)

    def _say(self, ending: Ending) -> bytes:
        self.over = True
        said = self._format.end(ending)
        self.broken = said is None
        return said or b""

    def _begin_anew(self, replaced: StreamReplaced) -> None:
        """Go on with the epoch that the session has now."""
        self._replaced = replaced
        self._subscription = self._subscribe(None)
        self._encoding, self._fresh, self._ready = None, True, ()

    async def _begun(self) -> bytes:
        """The beginning of the new epoch, if the format can say so."""
        while self._replaced is not None:
            try:
                await self._subscription.open()
            except StreamReplaced as again:
                self._begin_anew(again)
                continue
            if self._on_reset is not None and not await self._on_reset():
                raise SessionNotFound(self._stream.session_id)
            cursor = self._subscription.cursor
            said = None if cursor is None else self._format.reset(cursor)
            if said is None:
                return self.end(self._replaced)
            self._replaced = None
            return said
        return b""


def _row_end(chunks: Sequence[Chunk]) -> int:
    """How many of ``chunks`` are sent together; one at least."""
    if len(chunks) == 1:
        return 1
    size = 0
    for count, chunk in enumerate(chunks):
        size += len(chunk.data)
        if size > _ROW:
            return max(count, 1)
    return len(chunks)
