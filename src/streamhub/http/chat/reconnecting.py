"""A chat as ``WorkflowChatTransport`` of ``@ai-sdk/workflow`` follows it: by the number of the part
from which on it wants them, again and again until it gets a ``finish``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...chunks import Status
from ...errors import ProducerFailed, ProducerLost
from ...formats.endings import ending_of
from ...formats.format import Ending
from ...formats.ui_messages import UIMessages
from ...formats.ui_tail import begun_at
from ...parts.ui_stream import Emitted
from ...serving.faces import Face
from ...serving.queries import bad_value
from ...stream import LiveStream
from ..responses import StreamResponse
from .runs import RUN_HEADER

__all__ = ["TAIL_HEADER", "Reconnecting", "nothing_more", "parts_so_far", "place_of"]

#: Tells who counts from the end how many parts there are: the number of the last one.
TAIL_HEADER = "x-workflow-stream-tail-index"

_HEADERS = {"x-vercel-ai-ui-message-stream": "v1"}
_MOST_DIGITS = 15


def place_of(request: Request) -> int | None:
    """From which part on the client wants them; counted from the end if it is negative.

    :raises BadRequest: that is no whole number.
    """
    value = request.query_params.get("startIndex")
    if value is None:
        return None
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
        raise bad_value("startIndex", value, "a whole number")
    return int(value)


def nothing_more() -> Response:
    """The answer where there is nothing to follow: to this client a 204 is an error."""
    body = b'data: {"type":"finish"}\n\ndata: [DONE]\n\n'
    return Response(body, media_type="text/event-stream", headers=_HEADERS)


@dataclass(frozen=True)
class Reconnecting:
    """What is the same for all answers of a chat.

    :param replay: whether the client builds the message anew.
    :param since: after how many parts of the answer what it follows begins.
    """

    error_text: Callable[[str, str], str] | None
    replay: bool
    since: int

    async def response(self, stream: LiveStream, run_id: str, place: int) -> Response:
        """What comes from ``place`` on, whether or not the answer has ended.

        :raises StreamHubError: it cannot be read.
        """
        headers = {RUN_HEADER: run_id}
        if place < 0 and self.since:
            # From the end of what is to be had by this name.
            raise bad_value("startIndex", str(place), "0 or more for a run that goes on in another")
        if place < 0:
            parts = await parts_so_far(stream, self._format())
            place, count = begun_at(parts, -place), -place
            # By this the client reckons where it is: what it gets begins at the place, which may be
            # an earlier one than it has asked for.
            last = len(parts) - 1 if place == 0 else place - 1 + count
            headers[TAIL_HEADER] = str(last)
        face = Face(
            format=lambda asked: self._format(skip=place),
            cursor=lambda asked: None,
            batch=lambda asked: False,
            headers=_HEADERS,
        )
        shown = self.error_text is not None
        return StreamResponse(stream, face=face, show_errors=shown, headers=headers)

    def _format(self, skip: int | None = None) -> UIMessages:
        """What is sent after so many parts; all that there is, by default."""
        return UIMessages(
            error_text=self.error_text,
            replay=self.replay,
            since=0 if skip is None else self.since,
            skip=skip or 0,
            pausing=True,
            finishing=True,
        )


async def parts_so_far(stream: LiveStream, format_: UIMessages) -> list[dict[str, Any]]:
    """All that is stored of an answer, as ``format_`` has it.

    :raises StreamHubError: it cannot be read.
    """
    info = await stream.info()
    format_.begin(info)
    parts: list[Emitted] = []
    ending: Ending | None = None
    subscription = stream.subscribe()
    ended = info.status is not Status.ACTIVE
    try:
        while ended or subscription.cursor != info.last:
            chunks = await subscription.take()
            if not chunks:
                ending = Ending(subscription.status.value, None)
                break
            parts += [part for chunk in chunks for part in format_.parts_of(chunk)]
    except (ProducerFailed, ProducerLost) as error:
        ending = Ending(ending_of(error)[0], None)
    finally:
        await subscription.aclose()
    if ending is not None:
        parts += format_.last_parts(ending)
    return [part.value for part in parts]
