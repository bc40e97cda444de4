"""What an upstream answered, as the chunks of a session: its head, then its events or its body."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator

import msgspec

from ...chunks import Chunk

__all__ = ["BODY", "DATA", "HEAD", "Head", "body_chunks", "body_of", "data_event", "name_of"]

#: The event types of chunks: the head, an event of the upstream's (with ``:<its type>`` where it
#: has one), and a piece of a body that is no event stream.
HEAD, DATA, BODY = "head", "data", "body"
#: The same in base64, where a body is no UTF-8.
_BINARY = "body64"
# In characters: far below what a chunk may hold, whatever they are.
_PIECE = 128 * 1024


class Head(msgspec.Struct, frozen=True):
    """With what the upstream began its answer: an answer's first chunk."""

    status: int
    headers: list[tuple[str, str]]
    #: Whether events follow; else a body.
    streamed: bool

    @property
    def refused(self) -> bool:
        """Whether the upstream has refused the request."""
        return self.status >= 400

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, chunk: Chunk) -> Head:
        return msgspec.json.decode(chunk.data, type=cls)


def data_event(name: str | None) -> str:
    """The event type under which an event of the upstream's is stored."""
    # A NUL cannot be stored.
    return DATA if name is None else f"{DATA}:{name}".replace("\0", " ")


def name_of(event: str) -> str | None:
    """The type that such an event had at the upstream."""
    return event.partition(":")[2] or None


def body_chunks(body: bytes) -> Iterator[tuple[str, str]]:
    """A body as chunks: the data and the event type of each."""
    try:
        text, event = body.decode(), BODY
    except UnicodeDecodeError:
        text, event = base64.b64encode(body).decode(), _BINARY
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE], event


def body_of(chunks: Iterable[Chunk]) -> bytes:
    """The body, as it was."""
    chunks = list(chunks)
    text = "".join([chunk.data for chunk in chunks if chunk.event in (BODY, _BINARY)])
    binary = any(chunk.event == _BINARY for chunk in chunks)
    return base64.b64decode(text) if binary else text.encode()
