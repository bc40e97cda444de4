"""What an answer's session holds: its head, as soon as there is one, or all of it at the end."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ...chunks import Chunk, Status
from ...errors import HubClosed, StreamHubError
from ...formats.endings import ending_of
from ...formats.format import Ending
from ...stream import LiveStream
from ..errors import GatewayError, error_of
from ..upstream import decoded, storable
from .failures import failure_of, is_refused
from .folding import fold
from .log import DATA, HEAD, Head, body_of

__all__ = ["head_of", "whole_of"]

_JSON = [("content-type", "application/json")]


async def head_of(stream: LiveStream) -> Head:
    """With what the upstream began its answer; waits for that.

    :raises GatewayError: there is no answer.
    """
    try:
        async with stream.subscribe() as chunks:
            async for chunk in chunks:
                return Head.decode(chunk)
            ending = Ending(chunks.status.value, chunks.cursor)
    except HubClosed as error:
        raise error_of(error) from None
    except StreamHubError as error:
        ending = Ending(*_told(error))
    raise failure_of(ending)


async def whole_of(stream: LiveStream) -> tuple[Head, bytes]:
    """The whole answer, once it has ended: as the upstream has sent it, or as its chunks make it.

    :raises GatewayError: it has no good end.
    """
    chunks: list[Chunk] = []
    ending = Ending(Status.FINISHED.value, None)
    try:
        async with stream.subscribe() as subscription:
            while more := await subscription.take():
                chunks += more
            ending = Ending(subscription.status.value, None)
    except HubClosed as error:
        raise error_of(error) from None
    except StreamHubError as error:
        ending = Ending(*_told(error))
    if ending.status != Status.FINISHED and not is_refused(ending):
        raise failure_of(ending)
    if not chunks or chunks[0].event != HEAD:
        raise GatewayError(502, "answer_failed", "this session is no answer of a gateway's")
    head = Head.decode(chunks[0])
    if not head.streamed:
        return head, body_of(chunks)
    whole = fold(_objects(chunks[1:]))
    kept = [pair for pair in head.headers if pair[0] != "content-type"]
    return Head(head.status, [*kept, *_JSON], streamed=False), _encoded(whole)


def _encoded(whole: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(whole)
    except UnicodeEncodeError:
        return storable(json.dumps(whole, ensure_ascii=False)).encode()


def _told(error: StreamHubError) -> tuple[str, None, str]:
    status, reason = ending_of(error)
    return status, None, reason


def _objects(chunks: list[Chunk]) -> list[dict[str, Any]]:
    said = []
    for chunk in chunks:
        if (chunk.event or "").partition(":")[0] != DATA:
            continue
        try:
            said.append(decoded(chunk.data))
        except ValueError:
            # As ``[DONE]`` is.
            continue
    return [one for one in said if isinstance(one, dict)]
