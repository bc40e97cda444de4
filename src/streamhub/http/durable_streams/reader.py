"""One reader of a stream: its messages after an offset, page by page, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from ...chunks import Chunk, Cursor, SessionInfo, Status
from ...errors import ProducerFailed, SessionNotFound, StreamReplaced
from ...formats.durable_messages import ErrorText, Messages, Shape
from ...formats.durable_streams import Offset
from ...formats.format import Ending
from ...stream import LiveStream
from .rendered import Key, Rendered, Row

__all__ = ["Page", "Reader"]

_ENDED = frozenset({Status.FINISHED, Status.FAILED, Status.CANCELLED})
# What a chunk becomes beside its text, in bytes.
_AROUND = 64
# How long this process may take to hear of what the store knows already, in seconds.
_HEARSAY = 0.05


@dataclass(frozen=True)
class Page:
    """Some messages that follow each other."""

    messages: list[bytes]
    #: Before and after them.
    start: Offset
    next: Offset
    #: Whether these are all that there are.
    up_to_date: bool
    #: Whether nothing will ever follow.
    closed: bool
    status: Status


class Reader:
    """Reads one stream from an offset on. To be closed.

    :param stream: a handle on it.
    :param most: how large a page may be, in bytes; one chunk at least is on it.
    :param patience: for how many seconds it may be missing in the store: a lease.
    """

    def __init__(
        self,
        stream: LiveStream,
        shape: Shape,
        rendered: Rendered,
        *,
        after: Offset | Literal["now"] | None,
        error_text: ErrorText | None,
        most: int,
        patience: float,
    ) -> None:
        self._stream = stream
        self._stream_id = stream.stream_id
        self._shape = shape
        self._rendered = rendered
        self._key: Key = (stream.session_id, self._stream_id, shape.name)
        #: What stands before its first chunk; None in a session of the Go library.
        self._start = Cursor(int(self._stream_id), 0) if self._stream_id.isdigit() else None
        self._error_text = error_text
        self._most = most
        self._patience = patience
        self._ended = isinstance(after, Offset) and after.ended
        begin = after.cursor if isinstance(after, Offset) else after or self._start
        self._subscription = stream.subscribe(after=begin)
        #: Taken, and not on a page yet.
        self._left: Sequence[Chunk] = ()
        #: Whether the subscription has come to an end.
        self._over = False
        #: Makes the messages after ``_at``, once it is needed.
        self._messages: Messages | None = None

    async def open(self) -> None:
        """
        :raises StreamReplaced: the session has another stream now, or this one is not what was read
            of it.
        :raises StreamHubError: it cannot be read.
        """
        await self._subscription.open()
        assert self._subscription.cursor is not None
        self._at = self._subscription.cursor
        await self._look()
        if self._ended and not (self._info.status in _ENDED and self._info.last == self._at):
            # Its end was told, and somebody has gone on with it.
            raise self._replaced()

    async def wait(self) -> None:
        """Wait until there is something: chunks, or the end. Safe to cancel.

        :raises ProducerLost: nobody goes on with it.
        """
        if not self._left and not self._over:
            self._left = await self._take()

    async def ready(self) -> Page:
        """What has come by ``wait``; the end where that has.

        :raises ProducerFailed, ProducerLost: as in ``stored``.
        """
        if not self._left:
            return await self.refreshed()
        start = self._offset
        chunks, _ = self._next_row(self._most)
        messages = await self._made(chunks)
        up_to_date = not self._left and not self._subscription.behind
        return self._page(messages, start, up_to_date=up_to_date)

    async def refreshed(self) -> Page:
        """``stored``, as it is now."""
        await self._look()
        return await self.stored()

    async def stored(self, *, patient: bool = True) -> Page:
        """All that there was when it was looked at, with the end if it had ended; maybe nothing.

        :param patient: where a lost stream has nothing more, whether to wait for whoever goes on
            with it, and to raise if nobody will.
        :raises ProducerFailed, ProducerLost: there is nothing, nor will be, and no message tells.
        """
        start, messages, size = self._offset, list[bytes](), 0
        while (self._left or self._at.is_before(self._info.last)) and size < self._most:
            if not self._left:
                await self._go_on()
                continue
            chunks, taken = self._next_row(self._most - size)
            messages += await self._made(chunks)
            size += taken
        up_to_date = not self._left and not self._at.is_before(self._info.last)
        closed = False
        if up_to_date and self._info.status in _ENDED:
            closed = await self._close(messages)
            if self._shape.closes_apart and messages:
                up_to_date = closed = False
        elif up_to_date and self._info.status is Status.LOST and patient and not messages:
            await self._go_on()
            await self._look()
            return await self.stored()
        return self._page(messages, start, up_to_date=up_to_date, closed=closed)

    @property
    def waiting(self) -> Page:
        """A page of nothing, for who has waited long enough."""
        return self._page([], self._offset, up_to_date=True)

    @property
    def info(self) -> SessionInfo:
        """How the session stood when it was looked at last."""
        return self._info

    async def aclose(self) -> None:
        await self._subscription.aclose()

    @property
    def _offset(self) -> Offset:
        return Offset(self._at, self._ended)

    def _page(
        self, messages: list[bytes], start: Offset, *, up_to_date: bool, closed: bool = False
    ) -> Page:
        return Page(messages, start, self._offset, up_to_date, closed, self._info.status)

    async def _look(self) -> None:
        """How it stands in the store: what this process has heard may be some moments behind."""
        time = asyncio.get_running_loop().time
        until = time() + self._patience
        while True:
            try:
                self._info = await self._stream.info()
                if time() >= until or not self._is_being_put_back():
                    break
            except SessionNotFound:
                # Its producer may put it back, unless this process has heard that it is gone.
                async with self._stream.subscribe(after=self._at) as reader:
                    await reader.open()
                if time() >= until:
                    raise
            await asyncio.sleep(_HEARSAY)
        if self._info.stream_id != self._stream_id:
            raise self._replaced()

    def _is_being_put_back(self) -> bool:
        """Whether the store has the claim again of a stream that it had lost, and not yet all that
        was read of it."""
        info = self._info
        return (
            info.status is Status.ACTIVE
            and not info.is_foreign
            and info.stream_id == self._stream_id
            and info.last.is_before(self._at)
        )

    async def _take(self) -> Sequence[Chunk]:
        """The next chunks; none at an end, of which a look says more."""
        chunks: Sequence[Chunk] = ()
        with suppress(ProducerFailed):
            chunks = await self._subscription.take()
        self._over = not chunks
        return chunks

    async def _go_on(self) -> None:
        """Take what follows, of a stream of which more is stored or will be."""
        if self._over:
            # It had ended, and somebody has gone on with it.
            await asyncio.sleep(_HEARSAY)
            await self._subscription.aclose()
            self._subscription = self._stream.subscribe(after=self._at)
            self._over = False
        self._left = await self._take()

    def _next_row(self, most: int) -> tuple[Sequence[Chunk], int]:
        """The next chunks, which take about so many bytes, and how many."""
        size = count = 0
        for count, chunk in enumerate(self._left, 1):  # noqa: B007
            size += len(chunk.data) + _AROUND
            if size >= most:
                break
        chunks, self._left = self._left[:count], self._left[count:]
        return chunks, size

    async def _made(self, chunks: Sequence[Chunk]) -> list[bytes]:
        """The messages of ``chunks``, which come next."""
        after, self._at = self._at, chunks[-1].cursor
        row = self._rendered.row(self._key, after, chunks)
        if row is None:
            then = (await self._messages_at(after)).fork()
            row = Row(chunks, [one for chunk in chunks for one in then.of(chunk)], then)
            self._rendered.keep(self._key, after, row)
        self._messages = row.then
        if self._shape.stateful:
            self._rendered.keep_place(self._key, self._at, row.then)
        return row.messages

    async def _close(self, messages: list[bytes]) -> bool:
        """Add what the end says; whether it could be said."""
        info = self._info
        if self._ended:
            return True
        then = (await self._messages_at(self._at)).fork()
        said = then.at_end(Ending(info.status.value, info.last, info.error))
        if said is None:
            if not messages:
                raise ProducerFailed(info.session_id, info.error or "no reason given")
            return False
        messages += said
        self._ended = self._shape.stateful
        return True

    async def _messages_at(self, at: Cursor) -> Messages:
        """What makes the messages after ``at``."""
        if self._messages is None:
            kept = self._rendered.place(self._key, at)
            self._messages = await self._made_up_to(at) if kept is None else kept
        return self._messages

    async def _made_up_to(self, at: Cursor) -> Messages:
        """The same, by way of all that comes before."""
        messages = self._shape.begin(self._info, self._error_text)
        if not self._shape.stateful or (at.offset == 0 and not self._info.is_foreign):
            return messages
        async with self._stream.subscribe(after=self._start) as before:
            if (await before.open()).stream_id != self._stream_id:
                raise self._replaced()
            while before.cursor is not None and before.cursor.is_before(at):
                for chunk in (chunks := await before.take()):
                    if not at.is_before(chunk.cursor):
                        messages.of(chunk)
                if not chunks:
                    raise self._replaced()
                # The pages of a long log are all at hand, maybe.
                await asyncio.sleep(0)
        return messages

    def _replaced(self) -> StreamReplaced:
        return StreamReplaced(self._stream.session_id, self._at, self._info.epoch)
