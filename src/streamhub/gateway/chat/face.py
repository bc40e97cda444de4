"""An answer as its chunks again, as the upstream has sent them: the face of chat completions."""

from __future__ import annotations

from ...chunks import Chunk, Cursor, SessionInfo
from ...errors import HubClosed, InvalidCursor, StreamHubError
from ...formats.endings import ending_of
from ...formats.format import Ending, Format
from ...formats.sse import HEARTBEAT, encode
from ...serving.answers import Answered
from ...serving.asked import Asked
from ...serving.faces import Face
from ..errors import GatewayError, error_of, invalid, response_of
from .failures import TOLD, failure_of
from .log import DATA, name_of

__all__ = ["ANSWER", "ANSWER_WITH_IDS", "ChatFormat", "format_of"]


class ChatFormat:
    """See :class:`Format`.

    The data of each event is what the upstream has sent, ``[DONE]`` among it. An end that is no
    good one is an event with an ``error``, which the SDKs raise. A response that a shutdown
    interrupts breaks off, which they raise, too.

    :param ids: whether each event has its cursor as ``id``.
    """

    media_type = "text/event-stream"
    heartbeat = HEARTBEAT
    explicit = False
    stateless = True
    over = False

    def __init__(self, *, ids: bool) -> None:
        self.name = "chat completions, with ids" if ids else "chat completions"
        self._ids = ids

    def begin(self, info: SessionInfo) -> bytes:
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        event = chunk.event or ""
        if event == DATA:
            return encode(chunk.data, id=str(chunk.cursor) if self._ids else None)
        if event.startswith(f"{DATA}:"):
            cursor = str(chunk.cursor) if self._ids else None
            return encode(chunk.data, event=name_of(event), id=cursor)
        return b""

    def reset(self, cursor: Cursor) -> bytes | None:
        # No client can unsay what it was sent: what is another answer is not glued to it.
        return None

    def end(self, ending: Ending) -> bytes | None:
        if ending.status == "finished":
            return b""
        failure = failure_of(ending)
        return b"" if failure.code == TOLD else _said(failure)


def _said(failure: GatewayError) -> bytes:
    return encode(failure.body.decode())


_PLAIN, _WITH_IDS = ChatFormat(ids=False), ChatFormat(ids=True)


def format_of(*, ids: bool) -> ChatFormat:
    return _WITH_IDS if ids else _PLAIN


def _plain(request: Asked) -> Format:
    return _PLAIN


def _with_ids(request: Asked) -> Format:
    return _WITH_IDS


def _whole(request: Asked) -> bool:
    # Chunks are told apart by the clients.
    return False


def _refusal(error: StreamHubError) -> Answered:
    if isinstance(error, InvalidCursor):
        return response_of(invalid(str(error), param="Last-Event-ID", code="invalid_cursor"))
    if isinstance(error, HubClosed):
        return response_of(error_of(error))
    status, reason = ending_of(error)
    return response_of(failure_of(Ending(status, None, reason)))


def _missing() -> Answered:
    return response_of(failure_of(Ending("gone", None)))


#: To a client that stays: as if it had asked the upstream.
ANSWER = Face(format=_plain, batch=_whole, refusal=_refusal, missing=_missing)
#: To one that may come again from where it was.
ANSWER_WITH_IDS = Face(format=_with_ids, batch=_whole, refusal=_refusal, missing=_missing)
