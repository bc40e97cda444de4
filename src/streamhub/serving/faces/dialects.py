"""The faces that a request chooses among: Server-Sent Events, NDJSON and text."""

from __future__ import annotations

from ...errors import HubClosed, StoreUnavailable, StreamHubError
from ...formats.format import Ending, Format
from ...formats.ndjson import NDJSON as NDJSON_FORMAT
from ...formats.sse import SSE as SSE_FORMAT, SSEFormat, encode_heartbeat, encode_retry
from ...formats.text import TEXT as TEXT_FORMAT, TextFormat
from ..answers import STORE_AWAY, Answer, Answered, nothing, problem_of
from ..asked import Asked
from ..queries import events_of, last_of, shown_of, told_of_loss
from .face import Face

__all__ = ["FACES", "NDJSON", "SSE", "TEXT"]


def _come_again(error: StreamHubError) -> Answered:
    """Upon any status but 200 an EventSource would give up for good: where it is to ask again, it
    gets an event stream; from a server that shuts down it hears nothing more."""
    match error:
        case HubClosed():
            body = b""
        case StoreUnavailable():
            body = SSE_FORMAT.end(Ending("unavailable", None, STORE_AWAY))
        case _:
            return problem_of(error)
    return Answer(200, body, {"content-type": f"{SSE_FORMAT.media_type}; charset=utf-8"})


def _events(request: Asked) -> Format:
    told = told_of_loss(request)
    return SSE_FORMAT if told is None else SSEFormat(told=told)


def _text(request: Asked) -> Format:
    shown = shown_of(request)
    return TextFormat(shown) if shown else TEXT_FORMAT


SSE = Face(
    format=_events,
    events=events_of,
    last=last_of,
    heartbeat=encode_heartbeat,
    # Upon a 204 an EventSource stops.
    complete=nothing,
    refusal=_come_again,
    retry=encode_retry,
)
NDJSON = Face(format=lambda request: NDJSON_FORMAT, events=events_of, last=last_of)
TEXT = Face(format=_text, events=events_of, last=last_of)

#: By the names that ``?format=`` knows.
FACES = {"sse": SSE, "ndjson": NDJSON, "text": TEXT}
