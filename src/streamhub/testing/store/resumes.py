"""What a supervisor claims: a session that is lost, counted, and nothing else."""

from __future__ import annotations

import pytest

from ...chunks import SessionInfo, Status
from ...errors import SessionNotFound
from ...stores.base import Claim, Granted, Refused, Release, Restore, Restored, Store, Stored
from ...stores.feeds import Due, Taken
from ..scene import Scene, new_generation
from ..waiting import until
from .steps import append, claim, end, look, lose, texts, write

__all__ = ["ResumeTests"]


class ResumeTests(Scene):
    async def test_a_resumed_session_goes_on_as_a_continued_one(
        self, store: Store, other: Store, session: str
    ) -> None:
        """After its last chunk, with its owner, metadata and request."""
        first = await claim(store, session, owner="ada", metadata='{"n": 1}', request="r")
        await append(store, first, ["a", "b"])
        await lose(store, first, last=2)
        granted = await _resumed(other, session)
        second = granted.claim
        assert (first.epoch, 2, first.generation) == (second.epoch, second.base, second.replaced)
        assert ("ada", '{"n": 1}', "r") == (second.owner, granted.metadata, second.request)
        await append(other, second, ["c"], after=["a", "b"])
        assert ["a", "b", "c"] == await texts(store, second)

    async def test_resumes_are_counted(self, store: Store, session: str) -> None:
        """Every one, and apart those before which the session was handed over: released, and not in
        vain. Repeating one is no other; whoever else claims begins anew."""
        first = await claim(store, session)
        assert (0, 0) == await _counted(store, first)
        await lose(store, first)
        second = (await _resumed(store, session)).claim
        assert (1, 1) == await _counted(store, second)
        assert second == (await _resumed(store, session, second.generation)).claim
        await append(store, second, ["a"])
        for _ in range(2):
            assert isinstance(await write(store, Release(second, 1, in_vain=True)), Stored)
        third = (await _resumed(store, session)).claim
        assert (2, 1) == await _counted(store, third)
        await lose(store, third, last=1)
        fourth = (await _resumed(store, session)).claim
        assert (3, 2) == await _counted(store, fourth)
        await lose(store, fourth, last=1)
        assert (0, 0) == await _counted(store, await claim(store, session, takeover="continue"))

    async def test_a_lapse_is_no_handover(self, store: Store, session: str) -> None:
        """A producer that was killed handed nothing over, whatever it had written."""
        first = await claim(store, session, lease=0.05)
        await append(store, first, ["a"])
        await _until_lost(store, session)
        assert (1, 0) == await _counted(store, (await _resumed(store, session)).claim)

    @pytest.mark.parametrize("status", [s for s in Status if s is not Status.LOST])
    async def test_what_is_not_lost_is_not_resumed(
        self, store: Store, session: str, status: Status
    ) -> None:
        """What goes on or has ended, be it by a cancel in the last moment, stays as it is."""
        first = await claim(store, session)
        await append(store, first, ["a"])
        if status is not Status.ACTIVE:
            await end(store, first, status, last=1)
        answer = await _resume(store, session)
        assert isinstance(answer, Refused)
        assert status is answer.info.status
        assert first.generation == (await look(store, session)).generation

    async def test_what_a_feed_has_taken_for_lost_is_resumed(
        self, store: Store, session: str
    ) -> None:
        """Its end as lost was handed out: the one that follows is another."""
        feeds = store.feeds
        assert feeds is not None
        await feeds.open("resumes", unsaved=60.0)
        first = await claim(store, session)
        await append(store, first, ["a"])
        await lose(store, first, last=1)
        taken = await feeds.take(Due(session), "resumes", "one", lease=60.0, lost_after=0.0)
        assert isinstance(taken, Taken)
        second = (await _resumed(store, session)).claim
        assert (first.epoch, 1) == (second.epoch, second.base)
        assert Status.ACTIVE is (await look(store, session)).status

    async def test_a_lost_session_that_was_cancelled_is_not_resumed(
        self, store: Store, session: str
    ) -> None:
        """It ends as that."""
        first = await claim(store, session, lease=0.05)
        await store.cancel(session, generation=first.generation, epoch=first.epoch)
        await _until_lost(store, session)
        answer = await _resume(store, session)
        assert isinstance(answer, Refused)
        assert Status.CANCELLED is (await look(store, session)).status

    async def test_there_is_nothing_to_resume(self, store: Store, session: str) -> None:
        """Where there is no session, none is made."""
        with pytest.raises(SessionNotFound):
            await _resume(store, session)
        assert [None] == list(await store.look([session]))

    async def test_a_claim_that_is_put_back_keeps_its_counts(
        self, store: Store, session: str
    ) -> None:
        """Where the store has lost the session and its producer lives."""
        first = await claim(store, session)
        await append(store, first, ["a"])
        await lose(store, first, last=1)
        second = (await _resumed(store, session)).claim
        elsewhere = Claim(
            session_id=f"{session}:2",
            generation=second.generation,
            terms=second.terms,
            replaced=second.replaced,
            lease=second.lease,
            retention=second.retention,
            created_ms=second.created_ms,
            resumes=second.resumes,
            handovers=second.handovers,
        )
        assert isinstance(await write(store, Restore(elsewhere, None)), Restored)
        assert (1, 1) == await _counted(store, elsewhere)


async def _resume(
    store: Store, session_id: str, generation: str | None = None
) -> Granted | Refused:
    return await store.claim(
        session_id,
        generation or new_generation(),
        takeover="resume",
        lease=60.0,
        retention=60.0,
    )


async def _resumed(store: Store, session_id: str, generation: str | None = None) -> Granted:
    answer = await _resume(store, session_id, generation)
    assert isinstance(answer, Granted)
    return answer


async def _counted(store: Store, claimed: Claim) -> tuple[int, int]:
    """What the claim says, as the record does."""
    info = await look(store, claimed.session_id)
    assert (info.resumes, info.handovers) == (claimed.resumes, claimed.handovers)
    return info.resumes, info.handovers


async def _until_lost(store: Store, session_id: str) -> None:
    async def is_lost() -> bool:
        [info] = await store.look([session_id])
        return isinstance(info, SessionInfo) and info.status is Status.LOST

    await until(is_lost)
