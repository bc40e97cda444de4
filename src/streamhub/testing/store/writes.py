"""What a producer's operations do, and what stops them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from ...chunks import Chunk, Cursor, Item, Status
from ...stores.base import (
    Append,
    Behind,
    Claim,
    Fenced,
    Finish,
    Gone,
    Over,
    Release,
    Renew,
    SetMetadata,
    Store,
    Stored,
    Takeover,
    WriteOp,
)
from ..scene import Scene
from .steps import append, claim, end, look, lose, read, texts, to_append, write

__all__ = ["ODD_TEXTS", "WriteTests"]

#: Text that is easily damaged on its way.
ODD_TEXTS = ["", " ", "\x00\x01\r\n\u2028", "äöü€😀", "e\u0301", "{}[]\"'\\", "0", "x" * 100_000]

OPS: dict[str, Callable[[Claim], WriteOp]] = {
    "append": lambda claim: Append(claim, base=1, items=["stale"], total_bytes=6, term=claim.epoch),
    "metadata": lambda claim: SetMetadata(claim, '"stale"'),
    "renew": lambda claim: Renew(claim, last=1),
    "release": lambda claim: Release(claim, last=1),
    "end": lambda claim: Finish(claim, last=1, status=Status.FAILED, error="stale"),
}
every_op: pytest.MarkDecorator = pytest.mark.parametrize("op", OPS.values(), ids=OPS)


class WriteTests(Scene):
    async def test_appended_chunks_stand_in_order_under_growing_cursors(
        self, store: Store, other: Store, session: str
    ) -> None:
        """Every instance reads the chunks as written, at the offsets 1, 2, 3 … of the epoch."""
        claimed = await claim(store, session)
        assert Stored(2) == await append(store, claimed, ["a", ("b", "tool")])
        assert Stored(3) == await append(store, claimed, ["c"], after=["a", ("b", "tool")])
        expected = [
            Chunk("a", Cursor(claimed.epoch, 1)),
            Chunk("b", Cursor(claimed.epoch, 2), "tool"),
            Chunk("c", Cursor(claimed.epoch, 3)),
        ]
        assert expected == await read(other, claimed)
        info = await look(other, session)
        assert (Cursor(claimed.epoch, 3), 7) == (info.last, info.bytes)

    async def test_any_text_is_kept_as_it_is(self, store: Store, session: str) -> None:
        """Empty, long, binary-looking and non-ASCII data and event types come back unchanged."""
        claimed = await claim(store, session)
        items: list[Item] = [*ODD_TEXTS, *((text, "é\u2028 :{}") for text in ODD_TEXTS)]
        assert Stored(len(items)) == await append(store, claimed, items)
        chunks = await read(store, claimed)
        assert items == [(c.data, c.event) if c.event else c.data for c in chunks]

    async def test_an_append_in_one_piece_is_as_good_as_in_many(
        self, store: Store, session: str
    ) -> None:
        """Hundreds of chunks in one operation are stored like hundreds of operations."""
        claimed = await claim(store, session)
        items = [f"{n} " for n in range(500)]
        assert Stored(300) == await append(store, claimed, items[:300])
        ops = [to_append(claimed, items[n : n + 1], after=items[:n]) for n in range(300, 500)]
        assert [Stored(n) for n in range(301, 501)] == await store.write(ops)
        assert items == await texts(store, claimed)

    async def test_a_repeated_append_stores_nothing_twice(self, store: Store, session: str) -> None:
        """An append whose answer was lost is repeated without effect, and answered the same."""
        claimed = await claim(store, session)
        assert Stored(2) == await append(store, claimed, ["a", "b"])
        assert Stored(2) == await append(store, claimed, ["a", "b"])
        assert ["a", "b"] == await texts(store, claimed)
        assert 2 == (await look(store, session)).bytes

    async def test_an_append_stores_only_what_the_log_does_not_have(
        self, store: Store, session: str
    ) -> None:
        """Where an append overlaps the log, only the rest of it is stored."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a", "b"])
        assert Stored(4) == await append(store, claimed, ["b", "c", "d"], after=["a"])
        assert ["a", "b", "c", "d"] == await texts(store, claimed)
        assert 4 == (await look(store, session)).bytes

    async def test_a_late_append_of_old_chunks_changes_nothing(
        self, store: Store, session: str
    ) -> None:
        """A repeat that arrives after newer chunks leaves them, and the count of bytes, alone."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a", "b"])
        await append(store, claimed, ["c", "d"], after=["a", "b"])
        assert Stored(4) == await append(store, claimed, ["a", "b"])
        assert ["a", "b", "c", "d"] == await texts(store, claimed)
        assert 4 == (await look(store, session)).bytes

    async def test_an_append_beyond_the_end_leaves_no_hole(
        self, store: Store, session: str
    ) -> None:
        """Chunks that do not follow the last one are not stored; the answer says where it is."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a"])
        assert Behind(1) == await append(store, claimed, ["d"], after=["a", "b", "c"])
        assert ["a"] == await texts(store, claimed)
        assert Stored(2) == await append(store, claimed, ["b"], after=["a"])

    async def test_metadata_is_replaced_as_a_whole(
        self, store: Store, other: Store, session: str
    ) -> None:
        """The newest metadata is what stands, for every instance."""
        claimed = await claim(store, session, metadata='{"a": 1}')
        assert {"a": 1} == (await look(other, session, metadata=True)).metadata
        assert Stored(0) == await write(store, SetMetadata(claimed, '{"b": ["é", null]}'))
        assert {"b": ["é", None]} == (await look(other, session, metadata=True)).metadata

    async def test_an_append_renews_a_lease_that_runs_out(self, store: Store, session: str) -> None:
        """A producer whose renewals fail holds its claim as long as its chunks are stored."""
        claimed = await claim(store, session, lease=10.0)
        await append(store, replace(claimed, lease=100.0), ["a"])
        renewed = (await look(store, session)).lease

        assert renewed is not None
        assert 75 < renewed <= 100

    async def test_a_renewal_tells_how_far_the_log_reaches(
        self, store: Store, session: str
    ) -> None:
        """A renewal is answered with the newest offset, so that the producer sees a loss."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a", "b"])
        assert [Stored(2)] == await store.renew([Renew(claimed, last=2)])
        assert Stored(2) == await write(store, Renew(claimed, last=2))
        [answer] = await store.renew([Renew(claimed, last=5)])
        assert isinstance(answer, Stored | Behind)
        assert 2 == answer.last

    async def test_a_released_session_is_lost_at_once(
        self, store: Store, other: Store, session: str
    ) -> None:
        """After a release another may continue without waiting for the lease."""
        first = await claim(store, session)
        await append(store, first, ["a"])
        assert isinstance(await write(store, Release(first, last=1)), Stored)
        assert Status.LOST is (await look(other, session)).status
        second = await claim(other, session, takeover="continue")
        assert (first.epoch, 1) == (second.epoch, second.base)

    async def test_a_released_session_is_not_revived_by_a_late_renewal(
        self, store: Store, other: Store, session: str
    ) -> None:
        """A renewal that was still on its way does not keep others from continuing."""
        first = await claim(store, session)
        await write(store, Release(first, last=0))
        await store.renew([Renew(first, last=0)])
        assert Status.LOST is (await look(other, session)).status
        await claim(other, session, takeover="continue")

    @pytest.mark.parametrize("late", [["a"], ["a", "b"]])
    async def test_a_released_session_is_not_revived_by_a_late_append(
        self, store: Store, other: Store, session: str, late: list[Item]
    ) -> None:
        """Nor does one that was on its way twice, or brings something new, keep others from
        continuing."""
        first = await claim(store, session)
        await append(store, first, ["a"])
        await write(store, Release(first, last=1))
        assert Stored(len(late)) == await append(store, first, late)
        assert Status.LOST is (await look(other, session)).status
        await claim(other, session, takeover="continue")

    async def test_a_released_session_stays_readable(self, store: Store, session: str) -> None:
        """A release drops neither chunks nor metadata."""
        claimed = await claim(store, session, metadata="1")
        await append(store, claimed, ["a"])
        await lose(store, claimed, last=1)
        assert ["a"] == await texts(store, claimed)
        assert 1 == (await look(store, session, metadata=True)).metadata

    @every_op
    @pytest.mark.parametrize("takeover", ["restart", "continue"])
    async def test_no_operation_of_a_stale_generation_takes_effect(
        self,
        store: Store,
        other: Store,
        session: str,
        op: Callable[[Claim], WriteOp],
        takeover: Takeover,
    ) -> None:
        """Whatever a fenced producer tries changes nothing, and is told who owns the session."""
        stale = await claim(store, session)
        await append(store, stale, ["a"])
        await lose(store, stale, last=1)
        owner = await claim(other, session, takeover=takeover, metadata='"owned"')
        before = await texts(store, owner)
        assert Fenced(owner.generation) == await write(store, op(stale))
        info = await look(store, session, metadata=True)
        assert (Status.ACTIVE, owner.generation) == (info.status, info.generation)
        assert ("owned", None) == (info.metadata, info.error)
        assert before == await texts(store, owner)

    @every_op
    async def test_no_operation_takes_effect_on_an_unknown_session(
        self, store: Store, session: str, op: Callable[[Claim], WriteOp]
    ) -> None:
        """Where the store has lost a session it says so and creates nothing."""
        claimed = await claim(store, session)
        lost = msgspec.structs.replace(claimed, session_id=f"{session}:lost")
        assert Gone() == await write(store, op(lost))
        assert [None] == await store.look([lost.session_id])
        assert [] == await read(store, lost)

    @every_op
    @pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED, Status.CANCELLED])
    async def test_no_operation_takes_effect_after_the_end(
        self, store: Store, session: str, op: Callable[[Claim], WriteOp], status: Status
    ) -> None:
        """An ended session takes no chunks, no metadata, no lease and no other end."""
        claimed = await claim(store, session, metadata='"kept"')
        await append(store, claimed, ["a"])
        error = "broke" if status is Status.FAILED else None
        await end(store, claimed, status, last=1, error=error)
        assert Over(status) == await write(store, op(claimed))
        info = await look(store, session, metadata=True)
        assert (status, error, "kept", None) == (
            info.status,
            info.error,
            info.metadata,
            info.lease,
        )
        assert ["a"] == await texts(store, claimed)

    @pytest.mark.parametrize("name", ["append", "metadata", "renew"])
    async def test_every_write_tells_that_a_cancel_is_asked_for(
        self, store: Store, other: Store, session: str, name: str
    ) -> None:
        """A producer that missed the message hears of the cancel with its next write."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a"])
        await other.cancel(session, generation=claimed.generation, epoch=claimed.epoch)
        answer = await write(store, OPS[name](claimed))
        assert isinstance(answer, Stored)
        assert answer.cancelling

    async def test_operations_are_carried_out_in_order(self, store: Store, session: str) -> None:
        """Chunks, metadata and the end of one call take effect one after the other."""
        claimed = await claim(store, session)
        assert [Stored(1)] == await store.write([to_append(claimed, ["a"])])
        answers = await store.write(
            [
                SetMetadata(claimed, "1"),
                to_append(claimed, ["b"], after=["a"]),
                SetMetadata(claimed, "2"),
                to_append(claimed, ["c"], after=["a", "b"]),
                Renew(claimed, last=3),
                Finish(claimed, last=3, status=Status.FINISHED),
                to_append(claimed, ["d"], after=["a", "b", "c"]),
            ]
        )
        over = Over(Status.FINISHED)
        assert [Stored(1), Stored(2), Stored(2), Stored(3), Stored(3), over, over] == answers
        assert ["a", "b", "c"] == await texts(store, claimed)
        assert 2 == (await look(store, session, metadata=True)).metadata

    async def test_one_refused_operation_leaves_the_others_alone(
        self, store: Store, session: str
    ) -> None:
        """Each operation is answered for itself, in the place where it stood."""
        claims = [await claim(store, f"{session}:{n}") for n in range(4)]
        fenced, ended, healthy, behind = claims
        await lose(store, fenced)
        owner = await claim(store, fenced.session_id)
        await end(store, ended, Status.FINISHED)
        gone = msgspec.structs.replace(healthy, session_id=f"{session}:gone")
        ops = [
            to_append(fenced, ["x"]),
            to_append(healthy, ["a"]),
            to_append(ended, ["x"]),
            to_append(healthy, ["b"], after=["a"]),
            to_append(behind, ["x"], after=["a"]),
            to_append(gone, ["x"]),
            to_append(healthy, ["c"], after=["a", "b"]),
        ]
        expected = [
            Fenced(owner.generation),
            Stored(1),
            Over(Status.FINISHED),
            Stored(2),
            Behind(0),
            Gone(),
            Stored(3),
        ]
        assert expected == await store.write(ops)
        assert ["a", "b", "c"] == await texts(store, healthy)

    async def test_renewals_are_answered_each_for_itself(self, store: Store, session: str) -> None:
        """All claims of a hub are renewed in one call, and one stale claim spoils no other."""
        claims = [await claim(store, f"{session}:{n}") for n in range(30)]
        await lose(store, claims[7])
        owner = await claim(store, claims[7].session_id)
        answers = await store.renew([Renew(claimed, last=0) for claimed in claims])
        expected = [Fenced(owner.generation) if n == 7 else Stored(0) for n in range(30)]
        assert expected == answers

    async def test_writes_at_the_same_time_are_answered_each_for_itself(
        self, store: Store, session: str
    ) -> None:
        """Several callers, the first calls that the store ever gets, and again."""
        claims = [await claim(store, f"{session}:{n}") for n in range(5)]
        for before in (0, 1, 2):
            answers = await asyncio.gather(
                *(
                    append(store, one, ["x"] * n, after=["x"] * n * before)
                    for n, one in enumerate(claims, 1)
                )
            )
            assert [Stored(n * (before + 1)) for n in range(1, 6)] == answers

    async def test_no_operations_have_no_answers(self, store: Store) -> None:
        """Empty calls are legal."""
        assert [] == await store.write([])
        assert [] == await store.renew([])
        assert [] == await store.look([])
