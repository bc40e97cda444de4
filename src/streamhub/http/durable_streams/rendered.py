"""What the readers of all streams share: chunks that were made messages already, and from where on
more of them can be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from ...chunks import Chunk, Cursor
from ...formats.durable_messages import Messages

__all__ = ["Key", "Rendered", "Row"]

#: A session, its stream and a shape.
Key = tuple[str, str, str]

# What is kept, in bytes: of messages, and of what has to be known to go on at some places.
_KEPT = 4 * 1024 * 1024
_PLACES = 4 * 1024 * 1024
# What a chunk or a message takes beside its text, and what going on takes beside what is held.
_OBJECTS = 64
_STATE = 4 * 1024


class Row(NamedTuple):
    """The messages of some chunks that follow each other."""

    chunks: Sequence[Chunk]
    messages: list[bytes]
    #: Makes those of the chunks that follow; to be forked before it does.
    then: Messages

    @property
    def size(self) -> int:
        """What it takes, in bytes, more or less."""
        texts = sum([len(chunk.data) for chunk in self.chunks])
        sent = sum([len(message) for message in self.messages])
        objects = _OBJECTS * (len(self.chunks) + len(self.messages))
        return texts + sent + objects + _STATE + self.then.held


class Rendered:
    """Readers that follow live ask for the same few chunks, those that catch up for the same pages,
    and one that comes back goes on where it was: whoever asks first makes the messages.

    Bounded, and never needed: what is not here is made anew, from the beginning of the log.
    """

    def __init__(self) -> None:
        self._rows: OrderedDict[tuple[Key, Cursor, Cursor], Row] = OrderedDict()
        self._size = 0
        self._places: OrderedDict[tuple[Key, Cursor], tuple[Messages, int]] = OrderedDict()
        self._held = 0

    def row(self, key: Key, after: Cursor, chunks: Sequence[Chunk]) -> Row | None:
        """The messages of ``chunks``, which follow ``after``, if they were made before."""
        row = self._rows.get((key, after, chunks[-1].cursor))
        # After a failover a cursor can come to name another chunk.
        if row is None or (row.chunks[0], row.chunks[-1]) != (chunks[0], chunks[-1]):
            return None
        return row

    def keep(self, key: Key, after: Cursor, row: Row) -> None:
        name = (key, after, row.chunks[-1].cursor)
        before = self._rows.pop(name, None)
        self._rows[name] = row
        self._size += row.size - (0 if before is None else before.size)
        while self._size > _KEPT:
            self._size -= self._rows.popitem(last=False)[1].size

    def place(self, key: Key, cursor: Cursor) -> Messages | None:
        """What makes the messages after the chunk of ``cursor``; to be forked before it does."""
        place = self._places.get((key, cursor))
        if place is None:
            return None
        self._places.move_to_end((key, cursor))
        return place[0]

    def keep_place(self, key: Key, cursor: Cursor, messages: Messages) -> None:
        """Somebody may come back to here."""
        if (before := self._places.pop((key, cursor), None)) is not None:
            self._held -= before[1]
        size = _STATE + messages.held
        self._places[key, cursor] = (messages, size)
        self._held += size
        while self._held > _PLACES:
            self._held -= self._places.popitem(last=False)[1][1]
