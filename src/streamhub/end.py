"""How a stream ended, with all of it: what an application is told, and saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import msgspec

from .chunks import Item, SessionInfo, Status
from .parts.spoken import spoken_text
from .parts.ui_message import Message

__all__ = ["End"]


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a stream ended, with all of it: what an application saves.

    Every end has its own ``key``, which is the same however often, and by whomever, it is told. A
    stream that was continued after it had ended, or was lost, ends again under another key; the
    ``epoch`` is the same then, and all that was told before is told again.
    """

    #: What names this end: save under it, and a second telling changes nothing.
    key: str
    session_id: str
    #: The generation that the stream ended with.
    generation: str
    epoch: int
    #: ``FINISHED``, ``FAILED``, ``CANCELLED``; or ``LOST``: its producer died.
    status: Status
    #: Why it failed, or the reason that was given to ``cancel``.
    reason: str | None = None
    #: The message that its chunks are: what a page that followed it shows.
    message: Message
    #: All chunks without an event type, and the deltas of text among the parts, joined.
    text: str = ""
    #: Of the other chunks, event type and data of each, in order.
    events: tuple[tuple[str, str], ...] = ()
    owner: str | None = None
    #: The metadata, decoded from JSON; None if never set.
    metadata: Any = None
    #: When the epoch began and when it ended: seconds since 1970 by the store's clock.
    started: float | None = None
    ended: float
    #: How many chunks were stored, and their UTF-8 bytes.
    chunks: int
    bytes: int

    @classmethod
    def of(
        cls,
        info: SessionInfo,
        items: Sequence[Item],
        *,
        message: Message,
        ended: float,
        **more: Any,
    ) -> Self:
        """The end of a session that stands as ``info`` says, and whose log holds ``items``.

        :param message: what the items are together.
        :param more: what a subclass has beside.
        """
        return cls(
            key=info.generation,
            session_id=info.session_id,
            generation=info.generation,
            epoch=info.epoch or 0,
            status=info.status,
            message=message,
            reason=info.error,
            text=spoken_text(items),
            events=tuple((event, data) for data, event in _with_event(items)),
            owner=info.owner,
            metadata=info.metadata,
            started=info.created,
            ended=ended,
            chunks=len(items),
            bytes=info.bytes,
            **more,
        )


def _with_event(items: Sequence[Item]) -> list[tuple[str, str]]:
    return [item for item in items if not isinstance(item, str)]
