"""What an inbox keeps, for whom, and when it lets go of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from ...chunks import Status
from ...errors import InboxFull, SessionNotFound, StreamClosed, StreamReplaced
from ...stores.base import (
    Behind,
    Claim,
    Fenced,
    Handle,
    InboxMessage,
    InboxPage,
    MessageSent,
    Restore,
    Store,
    Stored,
    Synced,
)
from ..scene import Scene
from ..waiting import Recorder
from .steps import append, claim, end, lose, texts, to_append, write
from .writes import ODD_TEXTS

__all__ = ["InboxTests"]


class InboxTests(Scene):
    async def test_messages_wait_in_order(self, store: Store, other: Store, session: str) -> None:
        """Whoever sends: data and event type come as they are, and those held are left out."""
        claimed = await claim(store, session)
        kinds = [None if n % 3 else "ä" for n in range(len(ODD_TEXTS))]
        ids = [
            await send([store, other][n % 2], claimed, text, f"t{n}", event=kinds[n])
            for n, text in enumerate(ODD_TEXTS)
        ]
        page = await store.read_inbox(claimed, [])

        sent = zip(ids, ODD_TEXTS, kinds, strict=True)
        assert [InboxMessage(*one) for one in sent] == [*page.messages]
        assert ids == sorted(ids, key=lambda one: int(one.partition("-")[0]))
        rest = await other.read_inbox(claimed, [ids[0], "99-x"])
        assert (ids[1:], ["99-x"]) == ([one.id for one in rest.messages], [*rest.missing])

    async def test_a_message_that_is_sent_again_is_not_sent_twice(
        self, store: Store, other: Store, session: str
    ) -> None:
        """The answer is the same, also when it was handled and when the session has ended."""
        claimed = await claim(store, session)
        sent = await send(store, claimed, "a", "one")
        assert sent == await send(other, claimed, "a", "one")
        assert [sent] == await waiting(store, claimed)
        await write(store, Handle(to_append(claimed, []), [sent]))
        assert sent == await send(other, claimed, "a", "one")
        assert [] == await waiting(store, claimed)
        await end(store, claimed, Status.FINISHED)
        assert sent == await send(other, claimed, "a", "one")

    async def test_messages_are_handled_together_with_chunks_or_not_at_all(
        self, store: Store, other: Store, session: str
    ) -> None:
        """An append that is not carried out handles nothing, a repeated one changes nothing."""
        claimed = await claim(store, session)
        sent = [await send(other, claimed, text, text) for text in "abc"]
        early = Handle(to_append(claimed, ["y"], after=["x"]), sent[:2])
        assert Behind(0) == await write(store, early)
        assert sent == await waiting(store, claimed)
        both = Handle(to_append(claimed, ["x"]), sent[:2])
        for _ in range(2):
            assert Stored(1) == await write(store, both)
            assert sent[2:] == await waiting(store, claimed)
        assert ["x"] == await texts(store, claimed)
        # The same for one that overlaps the log, and one that brings nothing.
        assert Stored(2) == await write(store, replace(both, append=to_append(claimed, ["x", "y"])))
        await write(store, Handle(to_append(claimed, [], after=["x", "y"]), sent))
        assert [] == await waiting(other, claimed)

    async def test_an_inbox_is_bounded(self, store: Store, session: str) -> None:
        """In messages and in bytes of data and event type; what is handled makes room."""
        claimed = await claim(store, session)
        first = await send(store, claimed, "é", "a", messages=2, size=5)
        with pytest.raises(InboxFull) as many:
            await send(store, claimed, "", "b", messages=1)
        with pytest.raises(InboxFull) as large:
            await send(store, claimed, "123", "b", event="x", size=5)
        await send(store, claimed, "12", "c", event="x", size=5)
        await write(store, Handle(to_append(claimed, []), [first]))
        await send(store, claimed, "12", "d", size=5)

        assert (1, 2, 1) == (many.value.messages, many.value.bytes, many.value.max_messages)
        assert (1, 2, 5) == (large.value.messages, large.value.bytes, large.value.max_bytes)

    async def test_where_nobody_will_read_it_a_message_is_refused(
        self, store: Store, other: Store, session: str
    ) -> None:
        """A session that is unknown, has ended or was replaced; a lost one takes messages."""
        claimed = await claim(store, session)
        with pytest.raises(SessionNotFound):
            await send(store, replace(claimed, session_id=f"{session}:unknown"), "a", "a")
        await lose(store, claimed)
        await send(other, claimed, "a", "a")
        continued = await claim(store, session, takeover="continue")
        await end(store, continued, Status.FAILED)
        with pytest.raises(StreamClosed) as ended:
            await send(other, claimed, "b", "b")
        restarted = await claim(store, session)
        with pytest.raises(StreamReplaced) as replaced:
            await send(other, claimed, "c", "c")

        assert Status.FAILED is ended.value.status
        assert restarted.epoch == replaced.value.epoch

    async def test_an_inbox_belongs_to_the_stream(
        self, store: Store, other: Store, session: str
    ) -> None:
        """Who continues gets what was not handled, whoever is fenced gets and handles nothing,
        and a restart begins with an empty one."""
        first = await claim(store, session)
        sent = [await send(other, first, text, text) for text in "ab"]
        await write(store, Handle(to_append(first, ["x"]), sent[:1]))
        await lose(store, first, last=1)
        second = await claim(other, session, takeover="continue")

        assert sent[1:] == await waiting(other, second)
        stale = Handle(to_append(first, ["y"], after=["x"]), sent[1:])
        assert Fenced(second.generation) == await write(store, stale)
        assert InboxPage([], []) == await store.read_inbox(first, [])
        assert sent[1:] == await waiting(other, second)
        await end(other, second, Status.FINISHED, last=1)
        third = await claim(store, session)
        assert [] == await waiting(store, third)
        assert 1 == int((await send(other, third, "c", "c")).partition("-")[0])

    async def test_a_message_is_told(self, store: Store, other: Store, session: str) -> None:
        """To who watches the inbox; a repeat and a refusal are not told."""
        claimed = await claim(store, session)
        recorder = Recorder()
        watch = other.watch_inbox(session, recorder)
        await recorder.wait(Synced)
        await send(store, claimed, "a", "a")
        await send(store, claimed, "a", "a")
        with pytest.raises(InboxFull):
            await send(store, claimed, "b", "b", messages=1)
        await send(store, claimed, "c", "c")
        await recorder.wait(MessageSent, 2)
        watch.close()

        assert [MessageSent(), MessageSent()] == recorder.of(MessageSent)

    async def test_a_restore_puts_back_what_the_producer_holds(
        self, store: Store, other: Store, session: str
    ) -> None:
        """Once, in its place, and under its id; what is sent next comes after it."""
        claimed = await claim(store, session)
        sent = [await send(other, claimed, text, text) for text in "abc"]
        held = [*(await store.read_inbox(claimed, [])).messages]
        await append(store, claimed, ["x"])
        await store.remove(session)
        back = replace(claimed, terms=claimed.terms.continued(claimed.terms.current + 9_999_999, 1))
        for _ in range(2):
            await write(store, Restore(back, None, held[1:]))
        assert sent[1:] == await waiting(other, back)
        assert sent[2] == await send(other, back, "c", "c")
        newest = await send(other, back, "d", "d")
        await write(store, Restore(back, None, held))
        assert [*sent, newest] == await waiting(store, back)


async def send(
    store: Store,
    claimed: Claim,
    data: str,
    token: str,
    *,
    event: str | None = None,
    messages: int = 100,
    size: int = 1_000_000,
) -> str:
    return await store.send(
        claimed.session_id,
        data,
        event,
        epoch=claimed.epoch,
        token=token,
        max_messages=messages,
        max_bytes=size,
    )


async def waiting(store: Store, claimed: Claim) -> Sequence[str]:
    """The ids of all messages that wait."""
    return [message.id for message in (await store.read_inbox(claimed, [])).messages]
