"""What a producer decides about messages: what is put back, and which mark goes with what."""

from __future__ import annotations

import asyncio

from streamhub import HubConfig, Status
from streamhub.chunks import Terms
from streamhub.producing.inbox import HeldMessages
from streamhub.producing.producer import Producer
from streamhub.stores.base import (
    Append,
    Claim,
    Finish,
    Gone,
    Granted,
    Handle,
    InboxMessage,
    InboxPage,
    Restore,
    Stored,
    WriteOp,
)

CLAIM = Claim("s", "g", Terms.first(7), replaced=None, lease=15.0, retention=60.0)
A, B = InboxMessage("1-a", "a"), InboxMessage("2-b", "b", "kind")


def receiving(config: HubConfig | None = None) -> tuple[Producer, HeldMessages]:
    """A producer that has received two messages."""
    producer = Producer(Granted(CLAIM, bytes=0), config or HubConfig())
    held = producer.inbox = HeldMessages(lambda: None)
    held.take_in(InboxPage([A, B], []))
    return producer, held


def mark(producer: Producer, message: InboxMessage) -> None:
    assert producer.inbox is not None
    producer.inbox.mark(message.id, producer.last)
    producer.see_to_inbox()


def written(ops: list[WriteOp]) -> list[tuple[int, int, tuple[str, ...]]]:
    """Each append as its base, its number of chunks, and the messages that it takes along."""
    return [
        (op.base, len(op.items), ())
        if isinstance(op, Append)
        else (op.append.base, len(op.append.items), tuple(op.messages))
        for op in ops
        if isinstance(op, Append | Handle)
    ]


async def test_a_mark_goes_along_with_the_chunk_after_it() -> None:
    """Not with one before it, however many are written at once; and only once it is stored, no
    more."""
    producer, _ = receiving()
    for n in range(600):
        producer.accept("x", None, rested=True)
        if n == 550:
            mark(producer, A)
    ops = producer.next_ops()
    assert [(0, 512, ()), (512, 88, ("1-a",))] == written(ops)
    for op, stored in zip(ops, (512, 600), strict=True):
        producer.apply(op, Stored(stored))
    producer.accept("x", None, rested=True)

    assert [(600, 1, ())] == written(producer.next_ops())


async def test_a_mark_waits_for_a_chunk() -> None:
    """There is nothing to write until one is published, or until it is to wait no more."""
    producer, held = receiving()
    mark(producer, A)
    assert (False, []) == (producer.has_work, producer.next_ops())
    held.hurry_unpublished(producer.last)

    assert producer.has_work
    assert [(0, 0, ("1-a",))] == written(producer.next_ops())


async def test_a_mark_waits_for_who_waits_for_room_to_publish() -> None:
    """Whoever asks for the next message meanwhile, and however long it takes."""
    producer, held = receiving(HubConfig(max_pending_bytes=1))
    producer.accept("x", None, rested=True)
    first = producer.next_ops()
    mark(producer, A)
    publishing = asyncio.ensure_future(producer.publish("y", None))
    await asyncio.sleep(0)
    held.hurry_unpublished(producer.last)
    for _ in range(2):
        held.hurry_old(producer.last)
    producer.apply(first[0], Stored(1))
    assert [] == producer.next_ops()
    await publishing

    assert [(1, 1, ("1-a",))] == written(producer.next_ops())


async def test_marks_are_stored_before_the_end() -> None:
    """One that no chunk follows goes alone, in front of it."""
    producer, _ = receiving()
    mark(producer, B)
    ending = asyncio.ensure_future(producer.finish(Status.FINISHED))
    await asyncio.sleep(0)
    ops = producer.next_ops()
    ending.cancel()

    assert [(0, 0, ("2-b",))] == written(ops[:1])
    assert isinstance(ops[1], Finish)


async def test_what_is_not_handled_is_put_back() -> None:
    """Also what is marked, as long as that is not stored."""
    producer, held = receiving()
    mark(producer, A)
    producer.accept("x", None, rested=True)
    (append,) = producer.next_ops()
    producer.apply(append, Gone())
    (restore,) = producer.next_ops()
    assert isinstance(restore, Restore)
    assert [A, B] == [*restore.messages]
    held.handled(["1-a"])

    assert [B] == [*held.held]


def test_a_message_is_handed_out_once() -> None:
    """Whatever comes again: under its id, or, sent once more, under another; be it handled or not.
    Whatever the store has lost that is not marked is to be put back."""
    held = HeldMessages(lambda: None)
    held.take_in(InboxPage([A, B], []))
    assert [A, B, None] == [held.next(), held.next(), held.next()]
    held.mark("1-a", 0)
    assert held.take_in(InboxPage([], ["2-b"]))
    assert not held.take_in(InboxPage([], ["1-a", "9-x"]))
    held.handled(["1-a"])
    held.take_in(InboxPage([A, InboxMessage("3-b", "b")], []))

    assert held.next() is None
    # What came again is taken out of the store.
    assert ["1-a", "3-b"] == held.left([], all_of_them=False)
