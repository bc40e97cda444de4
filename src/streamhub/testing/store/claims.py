"""Who may claim a session, and what the claim finds there."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest

from ...chunks import Cursor, Status
from ...errors import SessionNotFound
from ...stores.base import Fenced, Granted, Refused, Renew, SetMetadata, Store, Stored, Takeover
from ..backend import Backend
from ..scene import Scene, new_generation
from ..waiting import until
from .steps import append, attempt, claim, end, listed, look, lose, read, texts, write

__all__ = ["ClaimTests"]

TAKEOVERS: tuple[Takeover, ...] = get_args(Takeover)
CONTINUABLE = (Status.FAILED, Status.CANCELLED, Status.LOST)
ENDED = (Status.FINISHED, *CONTINUABLE)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class ClaimTests(Scene):
    @pytest.mark.parametrize("takeover", TAKEOVERS)
    async def test_an_unknown_session_is_granted_with_a_new_epoch(
        self, store: Store, session: str, takeover: Takeover
    ) -> None:
        """A first claim begins at offset 0 of a new epoch, whichever takeover was asked for."""
        generation = new_generation()
        answer = await attempt(store, session, generation, takeover=takeover)
        assert isinstance(answer, Granted)
        claim = answer.claim
        assert (session, generation) == (claim.session_id, claim.generation)
        assert (0, None) == (claim.base, claim.replaced)
        assert (0, None) == (answer.bytes, answer.metadata)
        assert claim.epoch > 0
        assert [] == await read(store, claim)

    async def test_a_claim_carries_what_was_asked_for(self, store: Store, session: str) -> None:
        """A granted claim holds the times, the owner, the request and the trace that it was asked
        with."""
        answer = await attempt(
            store,
            session,
            lease=41.5,
            retention=42.5,
            owner="worker-1",
            metadata='{"model": 1}',
            request="question 1",
            traceparent=TRACE,
        )
        assert isinstance(answer, Granted)
        assert (41.5, 42.5) == (answer.claim.lease, answer.claim.retention)
        assert ("worker-1", "question 1") == (answer.claim.owner, answer.claim.request)
        assert TRACE == answer.claim.traceparent
        assert '{"model": 1}' == answer.metadata

    async def test_a_claimed_session_is_seen_by_every_instance(
        self, store: Store, other: Store, session: str
    ) -> None:
        """Another instance sees the session as active and owned by the generation at once."""
        claimed = await claim(
            store, session, owner="worker-1", request="question 1", traceparent=TRACE
        )
        info = await look(other, session)
        assert session == info.session_id
        assert Status.ACTIVE is info.status
        assert claimed.generation == info.generation
        assert ("worker-1", "question 1") == (info.owner, info.request)
        assert TRACE == info.traceparent
        assert claimed.created_ms / 1000 == info.created
        assert (claimed.epoch, Cursor(claimed.epoch, 0)) == (info.epoch, info.last)
        assert (0, 0, None, False) == (info.base, info.bytes, info.error, info.cancelling)
        assert info.lease is not None
        assert 0 < info.lease <= 60.0

    @pytest.mark.parametrize("takeover", TAKEOVERS)
    async def test_a_live_lease_is_never_claimed_over(
        self, store: Store, other: Store, session: str, takeover: Takeover
    ) -> None:
        """A claim on an active session is refused, tells who owns it, and changes nothing."""
        first = await claim(store, session)
        await append(store, first, ["a"])
        answer = await attempt(other, session, takeover=takeover, owner="me", metadata='"mine"')
        assert isinstance(answer, Refused)
        assert first.generation == answer.info.generation
        assert Status.ACTIVE is answer.info.status
        assert Cursor(first.epoch, 1) == answer.info.last
        info = await look(store, session, metadata=True)
        assert (first.generation, None, None) == (info.generation, info.owner, info.metadata)
        assert Stored(2) == await append(store, first, ["b"], after=["a"])

    @pytest.mark.parametrize("status", ENDED)
    async def test_restart_begins_a_new_epoch_with_an_empty_log(
        self, store: Store, other: Store, session: str, status: Status
    ) -> None:
        """A restart takes an ended or lost session and keeps nothing of it."""
        first = await claim(
            store, session, owner="one", metadata='"one"', request="one", traceparent=TRACE
        )
        await append(store, first, ["a", "b"])
        await end(store, first, status, last=2)
        answer = await attempt(other, session, takeover="restart")
        assert isinstance(answer, Granted)
        second = answer.claim
        assert first.epoch != second.epoch
        assert (0, first.generation) == (second.base, second.replaced)
        assert (0, None) == (answer.bytes, answer.metadata)
        info = await look(store, session, metadata=True)
        assert (Status.ACTIVE, second.generation) == (info.status, info.generation)
        assert (Cursor(second.epoch, 0), 0) == (info.last, info.bytes)
        assert (None, None, None, None) == (info.owner, info.request, info.metadata, info.error)
        assert info.traceparent is None
        assert Stored(1) == await append(other, second, ["x"])
        assert ["x"] == await texts(store, second)

    @pytest.mark.parametrize("status", CONTINUABLE)
    async def test_continue_goes_on_in_the_same_epoch(
        self, store: Store, other: Store, session: str, status: Status
    ) -> None:
        """A continue keeps the epoch and its chunks and writes after the last of them."""
        first = await claim(store, session)
        await append(store, first, ["a", "bc"])
        await end(store, first, status, last=2, error="broke")
        answer = await attempt(other, session, takeover="continue")
        assert isinstance(answer, Granted)
        second = answer.claim
        assert (first.epoch, 2, 3) == (second.epoch, second.base, answer.bytes)
        assert first.generation == second.replaced
        assert first.created_ms == second.created_ms
        info = await look(store, session)
        assert (Status.ACTIVE, second.generation) == (info.status, info.generation)
        assert (Cursor(first.epoch, 2), 2, 3) == (info.last, info.base, info.bytes)
        assert (None, False) == (info.error, info.cancelling)
        assert Stored(3) == await append(other, second, ["d"], after=["a", "bc"])
        assert ["a", "bc", "d"] == await texts(store, second)

    async def test_continue_is_refused_on_a_finished_session(
        self, store: Store, session: str
    ) -> None:
        """A complete answer is not continued, and stays as it is."""
        first = await claim(store, session)
        await append(store, first, ["a"])
        await end(store, first, Status.FINISHED, last=1)
        answer = await attempt(store, session, takeover="continue")
        assert isinstance(answer, Refused)
        assert Status.FINISHED is answer.info.status
        assert first.generation == answer.info.generation
        assert Status.FINISHED is (await look(store, session)).status
        assert ["a"] == await texts(store, first)

    async def test_continue_keeps_owner_and_metadata(self, store: Store, session: str) -> None:
        """A continue that names no owner, metadata, request and trace keeps those that stand."""
        first = await claim(
            store, session, owner="one", metadata='{"n": 1}', request="one", traceparent=TRACE
        )
        await write(store, SetMetadata(first, '{"n": 2}'))
        await lose(store, first)
        answer = await attempt(store, session, takeover="continue")
        assert isinstance(answer, Granted)
        assert ("one", '{"n": 2}') == (answer.claim.owner, answer.metadata)
        assert ("one", TRACE) == (answer.claim.request, answer.claim.traceparent)
        info = await look(store, session, metadata=True)
        assert ("one", "one", {"n": 2}) == (info.owner, info.request, info.metadata)
        assert TRACE == info.traceparent

    async def test_continue_replaces_owner_and_metadata_where_they_are_given(
        self, store: Store, session: str
    ) -> None:
        """A continue that names them puts them in place of the old ones."""
        first = await claim(
            store, session, owner="one", metadata='{"n": 1}', request="one", traceparent=TRACE
        )
        await lose(store, first)
        answer = await attempt(
            store, session, takeover="continue", owner="two", metadata='{"n": 2}', request="two",
            traceparent=OTHER_TRACE,
        )  # fmt: skip
        assert isinstance(answer, Granted)
        assert ("two", '{"n": 2}') == (answer.claim.owner, answer.metadata)
        info = await look(store, session, metadata=True)
        assert ("two", "two", {"n": 2}) == (info.owner, info.request, info.metadata)
        assert OTHER_TRACE == info.traceparent == answer.claim.traceparent

    @pytest.mark.parametrize("owner", [None, "one", "two"])
    @pytest.mark.parametrize("takeover", TAKEOVERS)
    async def test_a_session_of_another_owner_is_refused_to_who_asks_for_that(
        self, store: Store, session: str, takeover: Takeover, owner: str | None
    ) -> None:
        """Whoever wants its own sessions alone gets no other, however that stands, and changes
        nothing of it; the owner gets it."""
        first = await claim(store, session, owner=owner)
        await append(store, first, ["a"])
        await lose(store, first)
        for other in {None, "one", "two"} - {owner}:
            answer = await attempt(
                store, session, takeover=takeover, owner=other, same_owner=True, request="x"
            )
            assert isinstance(answer, Refused)
            assert (Status.LOST, owner, None) == (
                answer.info.status,
                answer.info.owner,
                answer.info.request,
            )
        assert ["a"] == await texts(store, first)
        answer = await attempt(store, session, takeover=takeover, owner=owner, same_owner=True)
        assert isinstance(answer, Granted)

    @pytest.mark.parametrize("takeover", TAKEOVERS)
    async def test_a_session_that_changed_hands_is_refused_to_who_looked_before(
        self, store: Store, session: str, takeover: Takeover
    ) -> None:
        """Whoever names the generation that it replaces gets no other, and changes nothing of it;
        what is gone is not found."""
        with pytest.raises(SessionNotFound):
            await attempt(store, session, takeover=takeover, replaces="none")
        answer = await attempt(store, session, takeover=takeover, replaces="")
        assert isinstance(answer, Granted)
        first = answer.claim
        await append(store, first, ["a"])
        await lose(store, first)
        for other in ("", "another"):
            assert isinstance(
                await attempt(store, session, takeover=takeover, replaces=other), Refused
            )
        assert ["a"] == await texts(store, first)
        answer = await attempt(store, session, takeover=takeover, replaces=first.generation)
        assert isinstance(answer, Granted)

    async def test_a_session_removed_and_claimed_again_has_another_epoch(
        self, store: Store, session: str
    ) -> None:
        """A cursor of the removed session never fits the one that has its name afterwards."""
        first = await claim(store, session)
        await append(store, first, ["a"])
        await store.remove(session)
        second = await claim(store, session)
        assert first.epoch != second.epoch

    @pytest.mark.parametrize("takeover", TAKEOVERS)
    @pytest.mark.parametrize("before", [None, *CONTINUABLE])
    async def test_a_granted_claim_is_granted_again_when_repeated(
        self, store: Store, other: Store, session: str, takeover: Takeover, before: Status | None
    ) -> None:
        """A claim whose answer was lost is repeated and finds the same claim, not another."""
        if before is not None:
            predecessor = await claim(store, session)
            await append(store, predecessor, ["a"])
            await end(store, predecessor, before, last=1)
        generation = new_generation()
        once = await attempt(store, session, generation, takeover=takeover, metadata="1")
        again = await attempt(other, session, generation, takeover=takeover, metadata="1")
        assert isinstance(once, Granted)
        assert once == again

    async def test_a_claim_that_lapsed_holds_when_repeated(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """A repeat that comes after the lease ran out owns the session with a live lease."""
        generation = new_generation()
        await attempt(store, session, generation, lease=0.2)
        await backend.advance(0.2)
        await until(lambda: _is(store, session, Status.LOST))

        async def holds() -> bool:
            # For as long as it was granted, which a slow machine may sleep through.
            assert isinstance(await attempt(store, session, generation), Granted)
            return await _is(store, session, Status.ACTIVE)

        await until(holds)

    @pytest.mark.parametrize("takeover", TAKEOVERS)
    @pytest.mark.parametrize("before", [None, *CONTINUABLE])
    async def test_of_many_claims_at_once_exactly_one_is_granted(
        self, store: Store, other: Store, session: str, takeover: Takeover, before: Status | None
    ) -> None:
        """However many generations claim at the same time, one owns the session."""
        if before is not None:
            await end(store, await claim(store, session), before)
        answers = await asyncio.gather(
            *(attempt((store, other)[n % 2], session, takeover=takeover) for n in range(20))
        )
        granted = [answer for answer in answers if isinstance(answer, Granted)]
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert (1, 19) == (len(granted), len(refused))
        winner = granted[0].claim.generation
        assert {winner} == {answer.info.generation for answer in refused}
        assert winner == (await look(store, session)).generation

    async def test_the_cancel_of_one_generation_does_not_reach_the_next(
        self, store: Store, session: str
    ) -> None:
        """Who continues a cancelled session is not asked to stop by the old cancel."""
        first = await claim(store, session)
        await store.cancel(
            session, generation=first.generation, epoch=first.epoch, reason="too long"
        )
        await end(store, first, Status.CANCELLED)
        second = await claim(store, session, takeover="continue")
        assert Stored(1, cancelling=False) == await append(store, second, ["a"])
        info = await look(store, session)
        assert (False, None) == (info.cancelling, info.error)

    async def test_a_session_whose_lease_ran_out_is_lost(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """A producer that gives no sign of life is seen as lost, with its chunks still there."""
        claimed = await claim(store, session, lease=0.2)
        await append(store, claimed, ["a"])
        await backend.advance(0.2)
        await until(lambda: _is(store, session, Status.LOST))
        assert Cursor(claimed.epoch, 1) == (await look(store, session)).last
        assert ["a"] == await texts(store, claimed)

    async def test_a_lost_producer_that_was_not_replaced_can_renew_and_go_on(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """A stall that nobody used for a takeover leaves no trace."""
        claimed = await claim(store, session, lease=0.5)
        await append(store, claimed, ["a"])
        await backend.advance(0.5)
        await until(lambda: _is(store, session, Status.LOST))
        assert [Stored(1)] == await store.renew([Renew(claimed, last=1)])
        assert Status.ACTIVE is (await look(store, session)).status
        assert Stored(2) == await append(store, claimed, ["b"], after=["a"])

    async def test_an_append_renews_the_lease(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """A lost producer that stores a chunk is active again."""
        claimed = await claim(store, session, lease=0.5)
        await backend.advance(0.5)
        await until(lambda: _is(store, session, Status.LOST))
        assert Stored(1) == await append(store, claimed, ["a"])
        assert Status.ACTIVE is (await look(store, session)).status

    @pytest.mark.parametrize("takeover", TAKEOVERS)
    async def test_a_lapsed_lease_can_be_claimed_over(
        self, backend: Backend, store: Store, other: Store, session: str, takeover: Takeover
    ) -> None:
        """Once the lease has run out another may claim, and the old producer is fenced."""
        first = await claim(store, session, lease=0.2)
        await backend.advance(0.2)
        await until(lambda: _is(store, session, Status.LOST))
        second = await claim(other, session, takeover=takeover)
        assert first.generation == second.replaced
        assert Fenced(second.generation) == await write(store, Renew(first, last=0))

    async def test_renewals_keep_a_session_however_short_its_retention(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """An active session does not expire while its producer renews."""
        claimed = await claim(store, session, lease=1.0, retention=0.1)
        await append(store, claimed, ["a"])
        for _ in range(4):
            await backend.advance(0.5)
            assert [Stored(1)] == await store.renew([Renew(claimed, last=1)])
        assert ["a"] == await texts(store, claimed)

    async def test_a_lost_session_is_gone_after_its_retention(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """What nobody continues is dropped once lease and retention have passed."""
        await claim(store, session, lease=0.1, retention=0.2)
        await backend.advance(0.3)
        await until(lambda: _is_gone(store, session))
        second = await claim(store, session, takeover="continue")
        assert (None, 0) == (second.replaced, second.base)

    async def test_an_ended_session_is_gone_after_its_retention(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """An ended session expires with its chunks, and is then as unknown as any other."""
        claimed = await claim(store, session, retention=0.2)
        await append(store, claimed, ["a"])
        await end(store, claimed, Status.FINISHED, last=1)
        await backend.advance(0.2)
        await until(lambda: _is_gone(store, session))
        assert [] == await read(store, claimed)
        assert session not in await listed(store)
        assert not await store.remove(session)
        second = await claim(store, session, takeover="continue")
        assert (None, 0) == (second.replaced, second.base)


async def _is(store: Store, session_id: str, status: Status) -> bool:
    return status is (await look(store, session_id)).status


async def _is_gone(store: Store, session_id: str) -> bool:
    return [None] == await store.look([session_id])
