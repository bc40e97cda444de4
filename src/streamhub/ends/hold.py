"""One end in the hands of a worker: its lease, and how it is settled, once."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any

import msgspec

from ..errors import EndFenced, HubClosed, StoreUnavailable
from ..instruments import events
from ..instruments.events import Tell
from ..reasons import storable
from ..stores.feeds import Due, Feeds, Later, Outcome, Taken

__all__ = ["Conditions", "Hold", "backoff"]

logger: logging.Logger = logging.getLogger("streamhub")

# Seconds until an end comes again, doubled with each attempt, up to the longest.
_FIRST_RETRY = 1.0
_LONGEST_RETRY = 300.0
# How long somebody waits between two attempts to reach the store.
_SHORTEST_WAIT = 0.05
_LONGEST_WAIT = 2.0
# The same for an end that is taken, whose lease runs meanwhile.
_WAITS = (0.1, 0.4, 1.0)


def backoff(attempt: int, *, chance: float | None = None) -> float:
    """Seconds until an end comes again that was not done at its ``attempt``-th delivery.

    They differ by up to a tenth, so that what failed together does not come again together.

    :param chance: from 0 to 1, in place of a random number.
    """
    seconds = min(_FIRST_RETRY * 2.0 ** (min(attempt, 32) - 1), _LONGEST_RETRY)
    return seconds * (0.9 + 0.1 * (random.random() if chance is None else chance))


class Conditions(msgspec.Struct, frozen=True):
    """On which conditions a worker takes ends: see ``Hub.ends``."""

    lease: float
    timeout: float
    max_attempts: int
    give_up_after: float


class Hold:
    """An end that was taken. ``keep`` renews its lease, for as long as it runs.

    It is settled once: ``done``, ``again`` or ``dead``. Who settles it in another way than before,
    or after its lease was lost, gets ``EndFenced``.
    """

    def __init__(
        self,
        feeds: Feeds,
        feed: str,
        worker: str,
        conditions: Conditions,
        *,
        tell: Tell | None = None,
    ) -> None:
        self._feeds, self._feed, self._worker = feeds, feed, worker
        self._conditions = conditions
        self._tell = tell
        #: Since when somebody works on it; None before.
        self._given: float | None = None
        self._due: Due
        self.taken: Taken
        #: How it was settled.
        self._outcome: Outcome | None = None
        #: Why it cannot be settled any more.
        self._lost = ""
        self._left = False
        self._settling = asyncio.Lock()
        self._settled = asyncio.Event()

    async def take(self, due: Due, *, lost_after: float) -> Taken | Later | None:
        """As ``Feeds.take``; an answer that is lost is asked for again: nobody else gets it."""
        for wait in (*_WAITS, None):
            try:
                answer = await self._feeds.take(
                    due,
                    self._feed,
                    self._worker,
                    lease=self._conditions.lease,
                    lost_after=lost_after,
                )
            except StoreUnavailable:
                if wait is None:
                    raise
                await asyncio.sleep(wait)
                continue
            if isinstance(answer, Taken):
                self.taken, self._due = answer, answer.due
            return answer
        raise AssertionError

    def give(self) -> None:
        """It is handed out: somebody works on it from now on."""
        self._given = time.monotonic()
        if self._tell is not None:
            info = self.taken.info
            self._tell(
                events.EndHandedOut(
                    feed=self._feed,
                    session_id=info.session_id,
                    generation=info.generation,
                    owner=info.owner,
                    status=info.status,
                    attempt=self.taken.attempt,
                    age=max(0.0, time.time() - self.taken.ended),
                )
            )

    @property
    def held(self) -> bool:
        """Whether it is this worker's to settle, as far as is known."""
        return self._outcome is None and not self._lost and not self._left

    async def keep(self) -> None:
        """Renew the lease until the end is settled, lost, or held for too long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._conditions.timeout
        wait = self._conditions.lease / 3
        while self.held:
            left = until - loop.time()
            if left <= 0:
                self._say(
                    "is held for over %g s: its lease is not renewed any more",
                    self._conditions.timeout,
                )
                return
            try:
                async with asyncio.timeout(min(wait, left)):
                    await self._settled.wait()
            except TimeoutError:
                wait = (
                    self._conditions.lease / 3
                    if await self._renewed()
                    else self._conditions.lease / 10
                )

    async def _renewed(self) -> bool:
        """Whether the store has answered."""
        try:
            async with self._settling:
                if self.held and not await self._feeds.renew(
                    self._due, self._feed, self._worker, lease=self._conditions.lease
                ):
                    self._lose("its lease has lapsed, and another worker has it")
        except StoreUnavailable as error:
            logger.info("feed %r: a lease is not renewed: %s", self._feed, error)
            return False
        return True

    async def settle(self, outcome: Outcome, *, after: float = 0.0, error: str = "") -> None:
        """Settle it, however long that takes within ``give_up_after``.

        :raises EndFenced: it is another worker's, or was settled in another way.
        :raises HubClosed: it was given back because the hub has closed.
        :raises StoreUnavailable: the store was away all the time: nobody knows.
        """
        loop = asyncio.get_running_loop()
        until, wait = loop.time() + self._conditions.give_up_after, _SHORTEST_WAIT
        while True:
            try:
                async with self._settling:
                    await self._settle(outcome, after, error)
                return
            except StoreUnavailable:
                if self._left or loop.time() + wait > until:
                    raise
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def again(self, after: float, reason: str) -> None:
        """Settle it for later; for good at its last attempt. Raises as ``settle``."""
        if self.taken.attempt < self._conditions.max_attempts:
            await self.settle("again", after=after, error=reason)
        else:
            await self.settle("dead", error=reason)

    async def _settle(self, outcome: Outcome, after: float, error: str) -> None:
        if self._left:
            raise HubClosed
        if self._outcome == outcome:
            return
        if self._outcome is not None:
            self._lost = f"it was settled before, as {self._outcome!r}"
        if not self._lost and not await self._feeds.settle(
            self._due, self._feed, self._worker, outcome, after=after, error=storable(error)
        ):
            self._lose("its lease has lapsed, or it was removed")
        if self._lost:
            taken = self.taken
            raise EndFenced(taken.info.session_id, taken.info.generation, self._feed, self._lost)
        self._outcome = outcome
        self._settled.set()
        self._tell_settled(outcome, error)
        try:
            await self._feeds.put_off(
                self._feed, {self._due: after if outcome in ("again", "back") else None}
            )
        except StoreUnavailable as away:
            # No harm: whoever looks after it next finds how it stands.
            logger.info("feed %r: %s", self._feed, away)

    async def not_done(self, error: str, *, at_once: bool = False) -> None:
        """Give it back because it was not done; never raises. One that is left in peace by its
        worker, and not failed, comes again ``at_once``, and that was no attempt."""
        attempt = self.taken.attempt
        try:
            async with self._settling:
                if not self.held:
                    return
                if at_once:
                    await self._settle("back", 0.0, error)
                elif attempt < self._conditions.max_attempts:
                    await self._settle("again", backoff(attempt), error)
                else:
                    self._say("is given up after %d attempts: %s", attempt, error)
                    await self._settle("dead", 0.0, error)
        except EndFenced:
            pass
        except StoreUnavailable as away:
            self._lose("it could not be given back")
            self._say("could not be given back, and comes again when its lease lapses: %s", away)

    async def leave(self, patience: float) -> None:
        """The hub closes: wait until it is settled, and after ``patience`` seconds give it back."""
        if self.held and patience:
            try:
                async with asyncio.timeout(patience):
                    await self._settled.wait()
            except TimeoutError:
                pass
        await self.not_done("the hub of its worker was closed", at_once=True)
        self._left = True
        self._settled.set()

    def _lose(self, reason: str) -> None:
        self._lost = reason
        self._settled.set()
        self._tell_settled("fenced", reason)

    def _tell_settled(self, outcome: str, reason: str) -> None:
        """Of one that nobody has worked on it is told only that it is dead."""
        if self._tell is None or (self._given is None and outcome != "dead"):
            return
        info = self.taken.info
        facts: dict[str, Any] = {
            "feed": self._feed,
            "session_id": info.session_id,
            "generation": info.generation,
            "owner": info.owner,
            "attempt": self.taken.attempt,
            "seconds": 0.0 if self._given is None else time.monotonic() - self._given,
        }
        if outcome == "done":
            self._tell(events.EndDone(**facts))
        else:
            self._tell(events.EndReturned(**facts, outcome=outcome, reason=reason))

    def _say(self, what: str, *arguments: object) -> None:
        info = self.taken.info
        logger.warning(
            "feed %r: the end of session %r %s", self._feed, info.session_id, what % arguments
        )
