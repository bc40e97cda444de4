"""Chunks, folded into the message that they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from ..chunks import Chunk, Item, SessionInfo, Status
from .message import MessageReader
from .ui_message import Message
from .ui_stream import UIStream, message_id_of

__all__ = ["Folding", "fold", "message_of"]


class Folding:
    """The message of a stream, chunk by chunk: equal to what ``useChat`` shows of the same chunks.

    Nothing in a log can make it fail: what is no part of a message is shown as data, or left out,
    as a page would have it.

    :param message_id: of the message, unless a part of the stream names it; see
        :func:`message_id_of`.
    """

    def __init__(self, message_id: str = "") -> None:
        self._stream = UIStream(message_id)
        self._reader = MessageReader(message_id)

    @classmethod
    def of(cls, info: SessionInfo) -> Self:
        """That of a session, before its first chunk."""
        return cls(message_id_of(info))

    def add(self, chunk: Chunk | Item) -> None:
        """Add one chunk: the next of its log."""
        event: str | None = None
        if isinstance(chunk, str):
            data = chunk
        elif isinstance(chunk, Chunk):
            data, event = chunk.data, chunk.event
        else:
            data, event = chunk
        goes_on = self._stream.continued
        parts = self._stream.add(data, event)
        if goes_on is not (message := self._stream.continued) and message is not None:
            self._reader.go_on(message)
        for part in parts:
            self._reader.read(part.value)

    def end(self, status: Status | str) -> None:
        """Add the stream's end: what is still being written is complete, then."""
        for part in self._stream.end(str(status)):
            self._reader.read(part.value)

    @property
    def message(self) -> Message:
        """The message so far."""
        return self._reader.message


def message_of(info: SessionInfo, chunks: Iterable[Chunk | Item]) -> Message:
    """The message of the session that stands as ``info`` says, and holds ``chunks``."""
    return fold(chunks, message_id=message_id_of(info), status=info.status)


def fold(
    chunks: Iterable[Chunk | Item],
    *,
    message_id: str = "",
    status: Status | str = Status.ACTIVE,
) -> Message:
    """The message that ``chunks`` are: all of a stream's from the first, or those up to some place.

    :param message_id: of the message, unless a part of the stream names it.
    :param status: of the stream; if it has ended, nothing in the message is being written.
    """
    folding = Folding(message_id)
    for chunk in chunks:
        folding.add(chunk)
    if status != Status.ACTIVE:
        folding.end(status)
    return folding.message
