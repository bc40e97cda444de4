"""What one client is sent: every chunk after its cursor, then the end; across epochs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from ..chunks import Chunk, Cursor, SessionInfo, Status, join
from ..errors import (
    HubClosed,
    ProducerFailed,
    ProducerLost,
    SessionNotFound,
    StoreUnavailable,
    StreamHubError,
    StreamReplaced,
)
from ..formats.endings import ending_of, told_of
from ..formats.format import Ending, Format
from ..reading.only import Only
from ..reading.subscription import PickedSubscription, Subscription
from ..stream import LiveStream
from .answers import STORE_AWAY
from .encode_once import Encoding

__all__ = ["Body"]

# What is joined and encoded at once, in characters: a client that does not read holds no more.
_ROW = 64 * 1024
_ENDED = frozenset({Status.FINISHED, Status.FAILED, Status.CANCELLED})


class Body:
    """Turns a subscription into the bytes of one response.

    :param last: with how many of the newest chunks each epoch begins; only where ``after`` is None.
    :param events: which event types are sent; None for all.
    :param batch: whether what is stored already is joined into large chunks.
    :param on_reset: whether a new epoch may be sent; asked when it begins.
    :param show_errors: whether the client may see why a session cannot be read to its end, which
        may be the text of an exception.
    :param follow_next: whether the end of a stream is followed by the next one of the session.
    """

    def __init__(
        self,
        stream: LiveStream,
        format_: Format,
        *,
        after: Cursor | str | None,
        last: int | None = None,
        events: Collection[str | None] | None = None,
        batch: bool,
        buffer: int,
        on_reset: Callable[[], Awaitable[bool]] | None = None,
        show_errors: bool = False,
        follow_next: bool = False,
    ) -> None:
        """:raises InvalidCursor: ``after`` is malformed."""
        self._stream = stream
        self._last = last
        self._events = events
        #: Which chunks are sent, where that is not all.
        self._only: Only | None = None
        self.format = format_
        self._batch = batch
        self._buffer = buffer
        self._on_reset = on_reset
        self._show_errors = show_errors
        self._follow_next = follow_next
        #: Which stream of the session this is, and whether its end was said.
        self._stream_id: str | None = None
        self._ended = False
        self._encoding: Encoding | None = None
        self._resumes = after is not None and after != "now"
        self._subscription = self._subscribe(after)
        # Taken, and not sent yet.
        self._ready: Sequence[Chunk] = ()
        # Up to where chunks are joined, and those that wait to be.
        self._joined_to: Cursor | None = None
        self._to_join: list[Chunk] = []
        # By what was read so far, until the client knows.
        self._replaced: StreamReplaced | None = None
        #: Whether nothing more is to be sent.
        self.over: bool = False
        #: Whether the end could not be said, so that the response is to break off.
        self.broken: bool = False
        #: Whether the end was that the producer is lost: the client may come again.
        self.lost: bool = False

    async def open(self) -> bytes | None:
        """What there is to send at once, maybe nothing yet; None for a client that has all of an
        ended session.

        :raises StreamHubError: there is nothing to follow, or not from there.
        """
        try:
            info = await self._subscription.open()
        except StreamReplaced as replaced:
            self._begin_anew(replaced)
            return await self._begun()
        except (ProducerFailed, ProducerLost) as error:
            # It stands beyond the end of a log to which nobody puts anything back.
            return self.end(error)
        stored = self._subscription.cursor != info.last
        if self._resumes and not stored and info.status in _ENDED:
            if not self._follow_next:
                return None
            self._ended, self._stream_id = True, info.stream_id
            return b""
        begun = self._begin(info)
        if self.over or not stored:
            return begun
        try:
            return begun + self._row(await self._take())
        except StreamReplaced as replaced:
            self._begin_anew(replaced)
            return begun + await self._begun()
        except (ProducerFailed, ProducerLost) as error:
            return begun + self.end(error)

    async def next(self) -> bytes:
        """What comes next, as soon as there is something, which may be nothing that is sent; sets
        ``over`` with the last of it.

        Safe to cancel: nothing is lost by it.
        """
        try:
            if self._ended:
                await self._stream.wait_replaced(self._stream_id)
                self._ended = False
                self._begin_anew(self._replacement())
            if self._replaced is None:
                try:
                    return self._row(self._ready or await self._take())
                except StreamReplaced as replaced:
                    self._begin_anew(replaced)
            return await self._begun()
        except StreamHubError as error:
            return self.end(error)

    def end(self, error: StreamHubError) -> bytes:
        """The end that ``error`` is. Says nothing of servers behind this one."""
        if isinstance(error, HubClosed):
            # No end of the session: the client is to ask again, elsewhere.
            self.over, self.broken = True, not self.format.explicit
            return b""
        status, reason = ending_of(error)
        if isinstance(error, StoreUnavailable):
            reason = STORE_AWAY
        elif not self._show_errors:
            reason = told_of(status)
        return self._say(Ending(status, self._subscription.cursor, reason))

    @property
    def passed_over(self) -> Cursor | None:
        """Where a client stands that does not get all chunks; None for all others, and while what
        it gets of these is not sent."""
        behind = self._ready or self._to_join or self._replaced is not None
        return None if self._only is None or behind else self._subscription.cursor

    async def aclose(self) -> None:
        self._forget()
        await self._subscription.aclose()

    def _subscribe(self, after: Cursor | str | None) -> Subscription:
        subscription = self._stream.subscribe(
            after=after,
            last=self._last if after is None else None,
            events=self._events,
            buffer=self._buffer,
        )
        if isinstance(subscription, PickedSubscription):
            # Passed over here, where that is no reason to wait: so it is known how far one is.
            self._only, self._read = subscription.only, subscription.take_all
        else:
            self._read = subscription.take
        return subscription

    def _begin(self, info: SessionInfo) -> bytes:
        """What comes before the first chunk."""
        self._stream_id = info.stream_id
        if self._batch and self._subscription.cursor != info.last:
            self._joined_to = info.last
        if self.format.stateless:
            self._encoding = self._subscription.shared(
                ("http", self.format.name, self._only), lambda: Encoding(self.format)
            )
            self._encoding.users += 1
        begun = self.format.begin(info)
        self.over = self.format.over
        return begun

    async def _take(self) -> Sequence[Chunk]:
        """The next chunks; none once the session has ended quietly."""
        while self._joined_to is not None:
            try:
                chunks = await self._read()
            except StreamReplaced:
                raise
            except StreamHubError:
                # It is raised again when what came before it has been sent.
                chunks = []
            self._to_join += chunks
            if not chunks or not chunks[-1].cursor.is_before(self._joined_to):
                self._joined_to = None
            elif sum([len(chunk.data) for chunk in self._to_join]) < _ROW:
                continue
            joined, self._to_join = _joined(self._to_join), []
            if joined:
                return joined
        return await self._read()

    def _row(self, chunks: Sequence[Chunk]) -> bytes:
        """What is sent of ``chunks`` at once; none of them is the end."""
        if not chunks:
            return self._say(Ending(self._subscription.status.value, self._subscription.cursor))
        if self._only is not None and chunks is not self._ready:
            chunks = self._only.among(chunks)
            if not chunks:
                return b""
        end = _row_end(chunks)
        row, self._ready = (chunks, ()) if end == len(chunks) else (chunks[:end], chunks[end:])
        if self._encoding is None or self._joined_to is not None:
            said = b"".join([self.format.chunk(chunk) for chunk in row])
            self.over = self.format.over
            return said
        return self._encoding.encode(row)

    def _say(self, ending: Ending) -> bytes:
        said = self.format.end(ending)
        self._ended = self._follow_next and said is not None and ending.status in _ENDED
        self.over = not self._ended
        self.broken = said is None
        self.lost = ending.status == Status.LOST
        return said or b""

    def _replacement(self) -> StreamReplaced:
        cursor = self._subscription.cursor or Cursor(0, 0)
        return StreamReplaced(self._stream.session_id, cursor, None)

    def _begin_anew(self, replaced: StreamReplaced) -> None:
        """Go on with the epoch that the session has now."""
        self._replaced = replaced
        self._forget()
        self._subscription = self._subscribe(None)

    def _forget(self) -> None:
        encoding, self._encoding = self._encoding, None
        if encoding is not None:
            encoding.leave()
        self._ready, self._to_join, self._joined_to = (), [], None

    async def _begun(self) -> bytes:
        """The beginning of the new epoch, if the format can say so."""
        while self._replaced is not None:
            try:
                info = await self._subscription.open()
            except StreamReplaced as again:
                self._begin_anew(again)
                continue
            if self._on_reset is not None and not await self._on_reset():
                raise SessionNotFound(self._stream.session_id)
            cursor = self._subscription.cursor
            said = None if cursor is None else self.format.reset(cursor)
            if said is None:
                return self.end(self._replaced)
            self._replaced = None
            return said + self._begin(info)
        return b""


def _joined(chunks: list[Chunk]) -> list[Chunk]:
    """``chunks`` as few large ones, no larger than what is sent at once (or than one of them)."""
    joined: list[Chunk] = []
    start = 0
    while start < len(chunks):
        end = start + _row_end(chunks[start:])
        joined += join(chunks[start:end])
        start = end
    return joined


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
