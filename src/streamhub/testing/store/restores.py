"""How a producer puts back what the store has lost, and when it may not."""

from __future__ import annotations

import msgspec
import pytest

from ...chunks import Cursor, Status, Terms
from ...stores.base import (
    Claim,
    Claimed,
    Fenced,
    Over,
    Restore,
    Restored,
    Store,
    Stored,
    Synced,
    Takeover,
    WriteResult,
)
from ..scene import Scene, new_generation
from ..waiting import Recorder
from .steps import append, claim, end, look, lose, read, texts, write

__all__ = ["RestoreTests"]


class RestoreTests(Scene):
    async def test_a_session_that_is_gone_is_put_back(
        self, store: Store, other: Store, session: str
    ) -> None:
        """The claim stands again as it was, and the chunks follow under the same cursors."""
        claimed = _claim_unknown_to_the_store(session)
        answer = await write(store, Restore(claimed, metadata='{"n": 1}'))
        assert 0 == _last(answer)
        info = await look(other, session, metadata=True)
        assert (Status.ACTIVE, claimed.generation) == (info.status, info.generation)
        assert Cursor(claimed.epoch, 0) == info.last
        assert (claimed.owner, {"n": 1}) == (info.owner, info.metadata)
        assert (claimed.request, claimed.traceparent) == (info.request, info.traceparent)
        assert claimed.created_ms / 1000 == info.created
        assert info.lease is not None
        assert 0 < info.lease <= claimed.lease
        assert Stored(2) == await append(store, claimed, ["a", "b"])
        cursors = [chunk.cursor for chunk in await read(other, claimed)]
        assert [Cursor(claimed.epoch, 1), Cursor(claimed.epoch, 2)] == cursors

    async def test_a_restore_can_be_repeated(self, store: Store, session: str) -> None:
        """A restore whose answer was lost does not take away what was appended since."""
        claimed = _claim_unknown_to_the_store(session)
        await write(store, Restore(claimed, metadata=None))
        await append(store, claimed, ["a"])
        assert 1 == _last(await write(store, Restore(claimed, metadata=None)))
        assert ["a"] == await texts(store, claimed)

    async def test_a_claim_that_still_stands_keeps_its_log(
        self, store: Store, session: str
    ) -> None:
        """Where nothing was lost a restore takes nothing away."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a", "b"])
        assert 2 == _last(await write(store, Restore(claimed, metadata=None)))
        assert ["a", "b"] == await texts(store, claimed)
        assert Stored(3) == await append(store, claimed, ["c"], after=["a", "b"])

    async def test_a_successor_is_never_pushed_out(self, store: Store, session: str) -> None:
        """A producer that was replaced is fenced, and the session stays with its owner."""
        stale = await claim(store, session)
        await lose(store, stale)
        owner = await claim(store, session, metadata='"owned"')
        await append(store, owner, ["x"])
        assert Fenced(owner.generation) == await write(store, Restore(stale, metadata=None))
        info = await look(store, session, metadata=True)
        assert (owner.generation, "owned") == (info.generation, info.metadata)
        assert ["x"] == await texts(store, owner)

    @pytest.mark.parametrize("takeover", ["restart", "continue"])
    async def test_what_was_removed_is_not_put_back_by_one_that_was_replaced_before(
        self, store: Store, session: str, takeover: Takeover
    ) -> None:
        """A removal stops every generation that claimed before it, not the last one alone."""
        stale = await claim(store, session)
        await lose(store, stale)
        await claim(store, session, takeover=takeover)
        assert await store.remove(session)
        assert Fenced(None) == await write(store, Restore(stale, metadata=None))
        assert [None] == await store.look([session])

    async def test_what_was_removed_does_not_replace_its_predecessor_again(
        self, store: Store, session: str
    ) -> None:
        """Nor where the store has gone back to the generation that the removed one replaced."""
        predecessor = await claim(store, session)
        removed = msgspec.structs.replace(
            predecessor, generation=new_generation(), replaced=predecessor.generation
        )
        await write(store, Restore(removed, metadata=None))
        assert await store.remove(session)
        successor = await claim(store, session)
        late = msgspec.structs.replace(removed, replaced=successor.generation)
        assert Fenced(None) == await write(store, Restore(late, metadata=None))
        assert successor.generation == (await look(store, session)).generation

    async def test_a_stranger_is_never_pushed_out(self, store: Store, session: str) -> None:
        """Who claimed the session after the store had lost it owns it."""
        stranger = await claim(store, session)
        claimed = _claim_unknown_to_the_store(session)
        answer = await write(store, Restore(claimed, metadata=None))
        assert Fenced(stranger.generation) == answer
        assert stranger.generation == (await look(store, session)).generation

    @pytest.mark.parametrize(
        "before", [Status.ACTIVE, Status.LOST, Status.FAILED, Status.CANCELLED]
    )
    async def test_a_predecessor_that_comes_back_is_replaced_again(
        self, store: Store, session: str, before: Status
    ) -> None:
        """A failover that lost a continue is mended by it: the old chunks stay, and its own go
        on after them."""
        predecessor = await claim(store, session)
        await append(store, predecessor, ["a", "b"])
        if before is not Status.ACTIVE:
            await end(store, predecessor, before, last=2)
        continued = msgspec.structs.replace(
            predecessor,
            generation=new_generation(),
            terms=predecessor.terms.continued(predecessor.terms.current + 5, 2),
            replaced=predecessor.generation,
        )
        assert 2 == _last(await write(store, Restore(continued, metadata="1")))
        info = await look(store, session, metadata=True)
        assert (Status.ACTIVE, continued.generation) == (info.status, info.generation)
        assert (2, 1, None) == (info.base, info.metadata, info.error)
        assert Stored(3) == await append(store, continued, ["c"], after=["a", "b"])
        assert ["a", "b", "c"] == await texts(store, continued)
        late = await append(store, predecessor, ["x"], after=["a", "b"])
        assert Fenced(continued.generation) == late

    async def test_what_a_predecessor_wrote_in_the_place_of_others_is_not_kept(
        self, store: Store, session: str
    ) -> None:
        """Chunks that the predecessor stored after the place where it was continued make room for
        those of the producer that puts back its claim."""
        predecessor = await claim(store, session)
        await append(store, predecessor, ["a", "b", "stale"])
        continued = msgspec.structs.replace(
            predecessor,
            generation=new_generation(),
            terms=predecessor.terms.continued(predecessor.terms.current + 5, 2),
            replaced=predecessor.generation,
        )
        kept = _last(await write(store, Restore(continued, metadata=None)))
        assert kept <= 2
        items = ["a", "b", "c"]
        for at in range(kept, 3):
            answer = await append(store, continued, items[at : at + 1], after=items[:at])
            assert Stored(at + 1) == answer
        assert items == await texts(store, continued)

    async def test_a_restart_that_was_lost_empties_the_log_again(
        self, store: Store, session: str
    ) -> None:
        """Chunks of the replaced epoch are not mixed into the one that is put back."""
        predecessor = await claim(store, session)
        await append(store, predecessor, ["a", "b"])
        await lose(store, predecessor, last=2)
        restarted = msgspec.structs.replace(
            predecessor,
            generation=new_generation(),
            terms=Terms.first(predecessor.epoch + 7),
            replaced=predecessor.generation,
        )
        assert 0 == _last(await write(store, Restore(restarted, metadata=None)))
        assert Cursor(restarted.epoch, 0) == (await look(store, session)).last
        assert Stored(1) == await append(store, restarted, ["x"])
        assert ["x"] == await texts(store, restarted)
        assert 1 == (await look(store, session)).bytes

    @pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED, Status.CANCELLED])
    async def test_an_ended_session_is_not_brought_back_to_life(
        self, store: Store, session: str, status: Status
    ) -> None:
        """A restore that comes after the end is answered with it."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a"])
        await end(store, claimed, status, last=1)
        assert Over(status) == await write(store, Restore(claimed, metadata=None))
        assert status is (await look(store, session)).status
        assert ["a"] == await texts(store, claimed)

    async def test_a_restore_is_announced(self, store: Store, other: Store, session: str) -> None:
        """Whoever watches the session hears that its producer has put back the claim."""
        claimed = _claim_unknown_to_the_store(session)
        recorder = Recorder()
        watch = other.watch(session, recorder)
        await recorder.wait(Synced)
        await write(store, Restore(claimed, metadata=None))
        event = await recorder.wait(Claimed)
        watch.close()
        assert (claimed.epoch, 0, claimed.generation) == (
            event.term,
            event.last,
            event.generation,
        )


def _claim_unknown_to_the_store(session_id: str) -> Claim:
    return Claim(
        session_id=session_id,
        generation=new_generation(),
        terms=Terms.first(1_700_000_000_123),
        replaced=None,
        lease=60.0,
        retention=60.0,
        owner="worker-1",
        request="question 1",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        created_ms=1_700_000_000_123,
    )


def _last(answer: WriteResult) -> int:
    assert isinstance(answer, Restored)
    return answer.last
