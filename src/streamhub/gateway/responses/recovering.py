"""Answers that have lost the gateway that drew them: they go on where the upstream does, are asked
for once more, or fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from ...chunks import Status
from ...errors import SessionNotFound, StoreUnsupported
from ...hub import Hub
from ...stream import LiveStream
from ...supervisor import LostSession, Supervisor
from ..context import Gateway
from ..errors import GatewayError
from ..keys import OWNER, session_below
from ..upstream import Headers
from .answering import Answering
from .asked import REQUEST_EVENT, Facts
from .speaking import Speaks
from .stored import Log, Stored, find

__all__ = ["Recovery", "previous_of"]

logger: logging.Logger = logging.getLogger("streamhub")

# How often an answer is begun anew.
_MOST_RETRIES = 3
# For how long, in seconds, one that looks lost is left alone: where it was the store that was away,
# its gateway is about to renew its lease. No longer than a quarter of that.
_GRACE = 1.0


class Recovery:
    """What becomes of lost answers; the same for whoever comes upon one."""

    def __init__(self, gateway: Gateway, speaks: Speaks) -> None:
        self._hub = gateway.hub
        self._retry_lost = gateway.retry_lost
        self._own = gateway.keys.own
        self._speaks = speaks
        self._supervisor: Supervisor | None = None
        #: By name: readers come upon a lost answer together.
        self._recovering: dict[str, asyncio.Task[None]] = {}

    def begin(self) -> None:
        """Look after lost answers in the background from now on, if the gateway may ask in its own
        name. Those in the foreground have a client, or nobody who waits for them."""
        if self._own is None or self._supervisor is not None:
            return
        try:
            self._supervisor = self._hub.supervise(self.resume, owner=OWNER)
        except StoreUnsupported as error:
            logger.warning("lost answers wait until somebody asks for them: %s", error)

    async def aclose(self) -> None:
        """Look after nothing more. Idempotent."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            await supervisor.aclose()
        tasks = [*self._recovering.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def recover(self, stored: Stored, headers: Headers) -> None:
        """Have a lost answer go on or end, in the name of whoever asks for it; whatever becomes of
        them meanwhile. One that stands otherwise by now is left alone; of several who try, one does
        it.

        :raises SessionNotFound: it is not there any more.
        """
        await self._alone(stored.stream.session_id, self._recover(stored, headers))

    async def _alone(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Wait for work that goes on whatever becomes of who waits; once for all under a name."""
        task = self._recovering.get(name)
        if task is None:
            task = asyncio.create_task(work, name=f"streamhub recovery of {name}")
            self._recovering[name] = task
            task.add_done_callback(lambda task: self._recovered(name, task))
        else:
            work.close()
        await asyncio.shield(task)

    def _recovered(self, name: str, task: asyncio.Task[None]) -> None:
        del self._recovering[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("%s: cannot be recovered yet: %s", name, error)

    async def _replace(self, stream: LiveStream, log: Log, headers: Headers) -> None:
        """Begin anew what was claimed here. A new epoch takes a claim of its own."""
        await stream.release()
        await self._begin_anew(log, headers)

    async def _recover(self, stored: Stored, headers: Headers) -> None:
        await asyncio.sleep(min(_GRACE, self._hub.config.lease / 4))
        log = await stored.log()
        if log.stored.info.status is not Status.LOST:
            return
        if self._may_retry(log):
            await self._begin_anew(log, headers)
            return
        stream, claimed = await self._hub.register(
            stored.stream.session_id, takeover="resume", owner=stored.facts.owner, same_owner=True
        )
        if claimed:
            stream.spawn_body(self._goes_on(log.stored, headers))

    async def resume(self, lost: LostSession) -> Callable[[LiveStream], Awaitable[None]] | None:
        """What ``hub.supervise`` takes: in the gateway's own name."""
        assert self._own is not None
        if Facts.of(lost.metadata) is None:
            return None
        headers = self._own

        async def go_on(stream: LiveStream) -> None:
            stored = await find(self._hub, stream.session_id)
            if stored is None:
                return
            log = await stored.log()
            if self._may_retry(log):
                # In a task of its own: to give the session up ends this one.
                await self._alone(f"{stream.session_id} anew", self._replace(stream, log, headers))
            else:
                await self._goes_on(stored, headers)(stream)

        return go_on

    def _goes_on(self, stored: Stored, headers: Headers) -> Callable[[LiveStream], Awaitable[None]]:
        async def produce(stream: LiveStream) -> None:
            # Now nobody else writes.
            log = await stored.log()
            answering = Answering(
                self._hub, self._speaks, stored.facts, headers, asked=log.request, log=log
            )
            if log.is_over or log.reattaches:
                await answering.produce(stream)
            else:
                await answering.fail(stream, _lost())

        return produce

    def _may_retry(self, log: Log) -> bool:
        facts = log.stored.facts
        return (
            self._retry_lost
            and not log.is_over
            and not log.reattaches
            and facts.store
            and facts.retries < _MOST_RETRIES
            and log.request is not None
        )

    async def _begin_anew(self, log: Log, headers: Headers) -> None:
        """Ask once more, from the start. The numbers of the events go on: a client that has read
        some of those before is told so by its number, and gets none of these after them."""
        stored, facts = log.stored, log.stored.facts
        session_id = stored.stream.session_id
        pieces = [one.data for one in log.chunks if one.event == REQUEST_EVENT]
        again = msgspec.structs.replace(
            facts, base=facts.base + len(log.events), retries=facts.retries + 1
        )
        try:
            stream, claimed = await self._hub.register(
                session_id, owner=again.owner, same_owner=True, metadata=again,
                replaces=log.generation,
            )  # fmt: skip
        except SessionNotFound:
            return
        if not claimed:
            return
        previous = await previous_of(self._hub, session_id, facts.previous)
        answering = Answering(
            self._hub,
            self._speaks,
            again,
            headers,
            asked=log.request,
            previous=previous,
            pieces=pieces,
        )
        answering.awaited = False
        stream.spawn_body(answering.produce)


async def previous_of(hub: Hub, session_id: str, previous: str | None) -> str | None:
    """The upstream's name for the response before, if the same client had it from here."""
    if previous is None:
        return None
    stored = await find(hub, session_below(session_id, previous))
    if stored is None or not stored.facts.store:
        return None
    return (await stored.log()).upstream


def _lost() -> GatewayError:
    return GatewayError(502, "gateway_lost", "the gateway that drew this answer was lost")
