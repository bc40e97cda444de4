"""The answer to a request that stops a session's producer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection

import msgspec

from .. import sync
from ..chunks import Status
from ..errors import StreamHubError
from .answers import NOT_STORED, Answer, Answered, BadRequest, not_found, problem_of
from .asked import Asked
from .origins import check_origins, refuse_from_elsewhere
from .reply import Found

__all__ = ["answer_of", "cancel", "cancel_in_thread"]


async def cancel(
    stream: Found | Awaitable[Found],
    asked: Asked,
    *,
    wait: float | None = None,
    reason: str | None = None,
    origins: Collection[str] = (),
) -> Answered:
    """Stop its producer, wherever it runs, and tell what status the session has reached.

    :param wait: for so many seconds, for the end.
    :param reason: as for ``LiveStream.cancel``.
    :param origins: of which other sites pages may do that.
    """
    try:
        refuse_from_elsewhere(asked, check_origins(origins))
        found = await stream if inspect.isawaitable(stream) else stream
        if found is None:
            return not_found()
        return answer_of(found.session_id, await found.cancel(wait=wait, reason=reason))
    except BadRequest as error:
        return error.problem
    except StreamHubError as error:
        return problem_of(error)


def cancel_in_thread(
    hub: sync.Hub,
    session_id: str,
    asked: Asked,
    *,
    wait: float | None = None,
    reason: str | None = None,
    allow: Callable[[], bool] | None = None,
    origins: Collection[str] = (),
) -> Answered:
    """The same for threads.

    :param allow: whether the client may; refused, it is answered as if there was no session.
    """
    try:
        refuse_from_elsewhere(asked, check_origins(origins))
        found = hub.get(session_id)
        # After the look: what is not there all may look for, and is somebody's a moment later.
        if found is None or (allow is not None and not allow()):
            return not_found()
        return answer_of(session_id, found.cancel(wait=wait, reason=reason))
    except BadRequest as error:
        return error.problem
    except StreamHubError as error:
        return problem_of(error)


def answer_of(session_id: str, status: Status) -> Answer:
    """What a cancel has come to: 202 while the end is still to come."""
    body = msgspec.json.encode({"session_id": session_id, "status": status})
    headers = {**NOT_STORED, "content-type": "application/json"}
    return Answer(202 if status is Status.ACTIVE else 200, body, headers)
