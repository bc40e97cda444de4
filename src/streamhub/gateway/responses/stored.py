"""An answer as its session holds it: the request, the events of the upstream, and the end."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...chunks import Chunk, SessionInfo, Status
from ...errors import InvalidSessionId, ProducerFailed, StreamReplaced
from ...hub import Hub
from ...stream import LiveStream
from ..errors import GatewayError
from .asked import REQUEST_EVENT, Asked, Facts, request_of
from .objects import TERMINAL, began, endings, folded, told

__all__ = ["Log", "Stored", "find"]

_LOST = ("gateway_lost", "the gateway that drew this answer was lost")
_TOO_LATE = "the answer was broken off"


@dataclass(frozen=True)
class Stored:
    """How an answer stands."""

    response_id: str
    stream: LiveStream
    info: SessionInfo
    facts: Facts

    async def now(self) -> Stored:
        """The same, looked at again.

        :raises SessionNotFound: it is not there any more.
        """
        info = await self.stream.info()
        return replace(self, info=info, facts=Facts.of(info.metadata) or self.facts)

    async def log(self) -> Log:
        """All that is stored, with how it stands then.

        :raises SessionNotFound: it is not there any more.
        :raises CursorExpired: a part of it is not.
        """
        while True:
            now = await self.now()
            chunks: list[Chunk] = []
            try:
                async with now.stream.subscribe() as stored:
                    while len(chunks) < now.info.last.offset and (more := await stored.take()):
                        chunks += more
            except StreamReplaced:
                continue
            return Log(now, chunks)

    async def gist(self) -> Log:
        """What was asked, and what came of it: of an answer that has ended, the request and the
        last event, which tells all that was said. Of any other it is the whole log.

        :raises: as ``log``.
        """
        now = await self.now()
        if now.info.status not in (Status.ACTIVE, Status.LOST):
            asked: list[Chunk] = []
            with suppress(StreamReplaced):
                async with now.stream.subscribe() as stored:
                    while len(asked) < now.facts.skip and (more := await stored.take()):
                        asked += more
                ends = await _last(now.stream)
                if ends is not None and ends.event in TERMINAL:
                    return Log(now, [*asked[: now.facts.skip], ends])
        return await self.log()


async def _last(stream: LiveStream) -> Chunk | None:
    newest: Chunk | None = None
    with suppress(ProducerFailed):
        async with stream.subscribe(last=1) as stored:
            while more := await stored.take():
                newest = more[-1]
    return newest


@dataclass(frozen=True)
class Log:
    stored: Stored
    chunks: list[Chunk]

    @property
    def generation(self) -> str:
        """Who wrote it last."""
        return self.stored.info.generation

    @cached_property
    def request(self) -> Asked | None:
        """What was asked for; None if that was not kept, or not all of it was stored."""
        try:
            return request_of(one.data for one in self.chunks if one.event == REQUEST_EVENT)
        except GatewayError:
            return None

    @property
    def missing(self) -> int:
        """How many of the chunks before the events are not there: it was lost as it began."""
        return max(0, self.stored.facts.skip - len(self.chunks))

    @cached_property
    def events(self) -> list[str]:
        return [chunk.data for chunk in self.chunks if chunk.event != REQUEST_EVENT]

    @property
    def is_over(self) -> bool:
        """Whether its last event is told."""
        return bool(self.chunks) and self.chunks[-1].event in TERMINAL

    @cached_property
    def upstream(self) -> str | None:
        """The upstream's name for the response."""
        return next((r.id for r in self._responses() if r.id), None)

    @property
    def upstream_keeps_it(self) -> bool:
        """Whether the upstream may have it under its name. A translated answer has only ours."""
        return self.upstream not in (None, self.stored.response_id)

    @cached_property
    def reattaches(self) -> bool:
        """Whether the upstream goes on with the answer by itself, and can be asked for what follows
        the last event."""
        return (
            self.upstream is not None
            and self.last_number is not None
            and any(response.background for response in self._responses())
        )

    @cached_property
    def last_number(self) -> int | None:
        """The upstream's number of its last event."""
        numbers = (told(data).sequence_number for data in reversed(self.events))
        return next((number for number in numbers if number is not None), None)

    def _responses(self) -> list[Any]:
        # One of the first events tells all of it.
        return [event.response for event in map(told, self.events[:3]) if event.response]

    def response(self) -> dict[str, Any]:
        """The Response object."""
        made = folded(self.events)
        if self.is_over and made is not None:
            return made
        if ends := self.endings(made):
            made = folded([*self.events, *(data for _, data in ends)])
        return made or self._begun()

    def endings(self, made: dict[str, Any] | None = None) -> list[tuple[str, str]]:
        """The events of an end that is not among those that are stored."""
        info = self.stored.info
        if self.is_over or info.status is Status.ACTIVE:
            return []
        made = made or folded(self.events)
        if info.status in (Status.CANCELLED, Status.FINISHED):
            return endings(made, self._begun())
        code, message = _LOST if info.status is Status.LOST else ("gateway_error", _TOO_LATE)
        return endings(made, self._begun(), code=code, message=message)

    def conclude(self, code: str | None, message: str | None) -> list[tuple[str, str]]:
        """The last events of an answer that ends here, failed with a code or cancelled."""
        said = any(chunk.event == "error" for chunk in self.chunks[-1:])
        ends = endings(folded(self.events), self._begun(), code=code, message=message)
        return [one for one in ends if not (said and one[0] == "error")]

    def _begun(self) -> dict[str, Any]:
        stored = self.stored
        status = "queued" if stored.facts.background else "in_progress"
        return began(stored.response_id, stored.facts, self.request, status)


async def find(hub: Hub, session_id: str) -> Stored | None:
    """An answer of the Responses API; None where there is none."""
    try:
        stream = await hub.get(session_id)
    except InvalidSessionId:
        # An id that a client has made up, which no answer can have.
        return None
    if stream is None:
        return None
    info = await stream.info()
    facts = Facts.of(info.metadata)
    return None if facts is None else Stored(session_id.rpartition(":")[2], stream, info, facts)
