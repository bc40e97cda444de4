"""The producer's decisions: what is written next, and in which order."""

from __future__ import annotations

import asyncio

import pytest

from streamhub import (
    ChunkTooLarge,
    HubConfig,
    ProducerFenced,
    SessionCorrupted,
    Status,
    StoreUnavailable,
)
from streamhub.chunks import Terms
from streamhub.producing.producer import Producer
from streamhub.stores.base import (
    Append,
    Behind,
    Claim,
    Fenced,
    Finish,
    Gone,
    Granted,
    HasHoles,
    Release,
    Renew,
    Restore,
    Restored,
    SetMetadata,
    Stored,
    WriteOp,
)

CLAIM = Claim("s", "g2", Terms.first(7), replaced="g1", lease=15.0, retention=60.0)


async def producing(chunks: int, config: HubConfig | None = None) -> Producer:
    producer = Producer(Granted(CLAIM, bytes=0), config or HubConfig())
    for n in range(chunks):
        await producer.publish(str(n), None)
    return producer


def carry_out(producer: Producer, ops: list[WriteOp]) -> None:
    """Answer as a store does that stores everything."""
    for op in ops:
        last = op.base + len(op.items) if isinstance(op, Append) else 0
        producer.apply(op, Stored(last))


def ranges(ops: list[WriteOp]) -> list[tuple[int, int]]:
    return [(op.base, op.base + len(op.items)) for op in ops if isinstance(op, Append)]


@pytest.mark.parametrize("way", ["close", "release"])
async def test_the_end_and_the_release_come_after_every_chunk(way: str) -> None:
    """However many rounds the chunks take: nobody may continue before they are stored."""
    producer = await producing(5000)
    ending = asyncio.ensure_future(
        producer.finish(Status.FINISHED) if way == "close" else producer.release()
    )
    await asyncio.sleep(0)

    stored, ops = 0, producer.next_ops()
    while not isinstance(ops[-1], Finish | Release):
        assert not any(isinstance(op, Finish | Release) for op in ops)
        stored += sum(last - base for base, last in ranges(ops))
        carry_out(producer, ops)
        ops = producer.next_ops()

    assert (stored, 5000) == (ranges(ops)[0][0], ranges(ops)[-1][1])
    ending.cancel()


async def test_appends_are_bounded_in_chunks_and_in_bytes() -> None:
    """One script call never holds the server for long; a chunk over the bound goes alone."""
    small = await producing(5000)
    assert [(base, base + 512) for base in range(0, 4096, 512)] == ranges(small.next_ops())

    large = await producing(0)
    for size in (200_000, 100_000, 100_000, 400_000, 1):
        await large.publish("x" * size, None)
    assert [(0, 1), (1, 3), (3, 4), (4, 5)] == ranges(large.next_ops())


async def test_chunks_follow_those_that_are_under_way() -> None:
    """The next need not wait for the answer; each is written once."""
    producer = await producing(6000)
    first, second = producer.next_ops(), producer.next_ops()
    assert [4096, 6000] == [ranges(ops)[-1][1] for ops in (first, second)]
    assert ranges(second)[0][0] == 4096
    assert [] == producer.next_ops()
    carry_out(producer, first)
    carry_out(producer, second)
    await producer.flush()
    assert not producer.has_work


async def test_all_else_waits_for_the_chunks_that_are_under_way() -> None:
    """An end or metadata that overtook chunks would be stored without them."""
    producer = await producing(600)
    chunks = producer.next_ops()
    setting = asyncio.ensure_future(producer.set_metadata("1"))
    ending = asyncio.ensure_future(producer.finish(Status.FINISHED))
    await asyncio.sleep(0)
    assert [] == producer.next_ops()
    carry_out(producer, chunks[:1])
    assert [] == producer.next_ops()
    carry_out(producer, chunks[1:])
    assert [SetMetadata, Finish] == [type(op) for op in producer.next_ops()]
    for task in (setting, ending):
        task.cancel()


@pytest.mark.parametrize("late", [Behind(2), Stored(6000)])
async def test_what_was_under_way_behind_a_loss_is_written_again(late: Behind | Stored) -> None:
    """The store has lost chunks of the first round: it takes nothing of the second, or has taken
    it already and is asked once more."""
    producer = await producing(6000)
    first, second = producer.next_ops(), producer.next_ops()
    for op in first:
        producer.apply(op, Behind(2))
    again = producer.next_ops()
    assert ranges(again)[0][0] == 2
    for op in second:
        producer.apply(op, late)
    carry_out(producer, again)
    while ops := producer.next_ops():
        carry_out(producer, ops)
    await producer.flush()
    assert not producer.has_work


async def test_lost_chunks_are_written_again_under_their_offsets() -> None:
    """The store says how far it is, and the producer goes on from there."""
    producer = await producing(10)
    carry_out(producer, producer.next_ops())
    assert not producer.has_work

    producer.apply(producer.next_renewal(), Behind(4))

    assert [(4, 10)] == ranges(producer.next_ops())


@pytest.mark.parametrize("answer", [Gone(), HasHoles(), Fenced("g1")])
async def test_a_lost_claim_is_put_back_first(answer: Gone | HasHoles | Fenced) -> None:
    """The session is gone, its log has holes, or a failover lost the claim and brought back the
    one before."""
    producer = await producing(3)
    (op,) = producer.next_ops()
    producer.apply(op, answer)

    (restore,) = producer.next_ops()
    assert isinstance(restore, Restore)
    producer.apply(restore, Restored(0))
    assert [(0, 3)] == ranges(producer.next_ops())


@pytest.mark.parametrize("current", ["g3", None])
async def test_any_other_generation_fences(current: str | None) -> None:
    """A successor, or a removal: the next call raises, and nothing is written any more."""
    producer = await producing(3)
    (op,) = producer.next_ops()
    producer.apply(op, Fenced(current))

    assert [] == producer.next_ops()
    with pytest.raises(ProducerFenced) as caught:
        await producer.publish("x", None)
    assert current == caught.value.current


async def test_a_log_that_cannot_be_mended_is_an_error_after_some_attempts() -> None:
    """Somebody else writes or deletes there all the time: say so instead of trying for ever."""
    producer = await producing(3)
    for _ in range(100):
        for op in producer.next_ops():
            producer.apply(op, Restored(0) if isinstance(op, Restore) else Gone())
    assert producer.done
    with pytest.raises(SessionCorrupted, match="could not be mended"):
        await producer.flush()


async def test_renewals_do_not_hide_that_nothing_can_be_written() -> None:
    """An append that fails for give_up_after is reported, though the lease is held."""
    producer = await producing(1, HubConfig(give_up_after=1e-9))
    failure = StoreUnavailable("store", "is full")
    (op,) = producer.next_ops()
    producer.apply(op, failure)
    producer.apply(Renew(CLAIM, 0), Stored(0))
    producer.apply(op, failure)

    with pytest.raises(StoreUnavailable, match="stored up to offset 0 of 1"):
        await producer.flush()


async def test_an_outage_that_is_over_does_not_count_for_the_next() -> None:
    """give_up_after begins anew once chunks have been stored."""
    producer = await producing(1, HubConfig(give_up_after=1e-9))
    failure = StoreUnavailable("store", "is full")
    (op,) = producer.next_ops()
    producer.apply(op, failure)
    carry_out(producer, producer.next_ops())
    await producer.publish("1", None)
    (op,) = producer.next_ops()
    producer.apply(op, failure)

    assert not producer.done
    carry_out(producer, producer.next_ops())
    await producer.flush()


async def test_a_cancel_that_is_told_with_stored_chunks_is_noticed_once() -> None:
    """It need not wait for the next renewal."""
    producer = await producing(2)
    noticed: list[str] = []
    producer.on_cancelling = lambda: noticed.append("cancel")
    for n in range(2):
        await producer.publish(str(n), None)
        for op in producer.next_ops():
            producer.apply(op, Stored(2, cancelling=True))

    assert ["cancel"] == noticed


async def test_an_answer_that_comes_after_the_end_changes_nothing() -> None:
    """The other of two rounds is answered when this generation is fenced already."""
    producer = await producing(6000)
    first, second = producer.next_ops(), producer.next_ops()
    producer.apply(first[0], Fenced("g3"))
    carry_out(producer, second)

    assert (True, 0, []) == (producer.done, producer.pending_bytes, producer.next_ops())


async def test_g10_what_the_store_has_lost_counts_as_pending_again() -> None:
    """However much was stored before: no more than max_pending_bytes wait for the store."""
    producer = await producing(100, HubConfig(max_pending_bytes=200))
    carry_out(producer, producer.next_ops())
    assert producer.accept("x" * 20, None, rested=True)
    producer.apply(producer.next_renewal(), Behind(0))

    assert producer.accept("x" * 50, None, rested=True) is None


async def test_what_only_came_too_early_does_not_hide_that_nothing_can_be_written() -> None:
    """Chunks that follow those that were refused have no say in how long it has lasted."""
    producer = await producing(600, HubConfig(give_up_after=1e-9))
    failure = StoreUnavailable("store", "is full")
    for _ in range(2):
        first, second = producer.next_ops()
        producer.apply(first, failure)
        if not producer.done:
            producer.apply(second, Behind(0))

    with pytest.raises(StoreUnavailable, match="stored up to offset 0 of 600"):
        await producer.flush()


async def test_metadata_does_not_wait_for_chunks_that_come_without_end() -> None:
    """None follow those that are under way, until it has its turn."""
    producer = await producing(1)
    under_way = producer.next_ops()
    setting = asyncio.ensure_future(producer.set_metadata("1"))
    await producer.publish("2", None)
    assert [] == producer.next_ops()
    carry_out(producer, under_way)
    assert [Append, SetMetadata] == [type(op) for op in producer.next_ops()]
    setting.cancel()


async def test_metadata_is_written_once_and_the_newest_last() -> None:
    """What was set while an older value was under way is not taken for stored."""
    producer = await producing(0)
    first = asyncio.ensure_future(producer.set_metadata("1"))
    await asyncio.sleep(0)
    (op,) = producer.next_ops()
    second = asyncio.ensure_future(producer.set_metadata("2"))
    await asyncio.sleep(0)
    producer.apply(op, Stored(0))
    await first

    (op,) = producer.next_ops()
    assert isinstance(op, SetMetadata)
    assert "2" == op.metadata
    producer.apply(op, Stored(0))
    await second
    assert not producer.has_work


async def test_renewals_between_mendings_in_vain_do_not_hide_them() -> None:
    """The log is lost each time before it is whole: that a renewal found the claim, as far as it
    was put back, proves nothing."""
    producer = await producing(3)
    for _ in range(100):
        for op in producer.next_ops():
            producer.apply(op, Restored(0) if isinstance(op, Restore) else HasHoles())
            producer.apply(producer.next_renewal(), Stored(0))
    assert producer.done
    with pytest.raises(SessionCorrupted, match="could not be mended"):
        await producer.flush()


async def test_an_idle_producer_puts_its_claim_back_as_often_as_it_is_lost() -> None:
    """A repair that lasted until a renewal found all of it is none in vain."""
    producer = await producing(0)
    for _ in range(30):
        producer.apply(producer.next_renewal(), Gone())
        (restore,) = producer.next_ops()
        producer.apply(restore, Restored(0))
        producer.apply(producer.next_renewal(), Stored(0))
    assert not producer.done


async def test_a_claim_that_a_failover_loses_again_each_time_is_given_up() -> None:
    """The generation that was replaced comes back whenever the claim is put back."""
    producer = await producing(3)
    for _ in range(100):
        for op in producer.next_ops():
            producer.apply(op, Restored(0) if isinstance(op, Restore) else Fenced("g1"))
    assert producer.done
    with pytest.raises(SessionCorrupted, match="could not be mended"):
        await producer.flush()


SIZED = ["", "a", "ä", "x" * 64, "é" * 32, "x" * 65, "é" * 33]


@pytest.mark.parametrize("data", SIZED, ids=range(len(SIZED)))
async def test_a_short_chunk_is_measured_like_any_other(data: str) -> None:
    """``accept`` sees by itself what most chunks take: it agrees with ``measured``, to which a
    subclass of str goes."""

    class Text(str):
        __slots__ = ()

    config = HubConfig(max_chunk_bytes=64)
    taken: list[object] = []
    for text in (data, Text(data)):
        producer = await producing(0, config)
        try:
            producer.accept(text, None, rested=True)
            taken.append(producer.pending_bytes)
        except ChunkTooLarge as error:
            taken.append((error.size, error.limit))
    assert taken[0] == taken[1]
