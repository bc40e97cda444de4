"""Inboxes in Redis: sessions of the Go library, and what many messages leave behind."""

from __future__ import annotations

from typing import Any

import pytest

from streamhub import Hub, NoInbox, StreamReplaced

from ..support.faulty_proxy import FaultyProxy
from ..support.go_session import GENERATIONS, GoSession
from ..support.redis_server import RedisServer


async def test_a_session_of_the_go_library_takes_no_messages(
    redis_url: str, redis_client: Any, session_id: str
) -> None:
    """Its producer would never read them: that is said, by whichever handle."""
    go = GoSession(redis_client, session_id, GENERATIONS[0])
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register(session_id)
        await stream.close()
        await go.register()
        foreign = await hub.get(session_id)
        assert foreign is not None
        for handle in (stream, foreign):
            with pytest.raises(NoInbox, match="the Go library writes it"):
                await handle.send("a")
        await go.close()
        await hub.register(session_id)
        with pytest.raises(StreamReplaced):
            await foreign.send("a")


async def test_an_inbox_of_many_messages_stays_small(
    redis_url: str, redis_client: Any, session_id: str
) -> None:
    """What is handled leaves nothing but a bounded memory of the newest tokens."""
    meta = f"streamhub:{{{session_id}}}:meta"
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register(session_id)
        names = []
        async with stream.inbox() as inbox:
            for n in range(700):
                names.append(await stream.send(f"{n}", key=f"{n}"))
                message = await anext(inbox)
                assert f"{n}" == message.data
                message.done()
            await stream.flush()
        fields = await redis_client.hgetall(meta)
        kept = [name for name in names if name.encode() in fields[b"inbox_sent"]]
        assert names[-256:] == [await stream.send("", key=f"{n}") for n in range(444, 700)]

    assert [] == [field for field in fields if field.startswith(b"message:")]
    assert (b"700", b"0", b"0") == tuple(
        fields[field] for field in (b"inbox", b"inbox_messages", b"inbox_bytes")
    )
    assert 256 <= len(kept) < 600


async def test_a_message_whose_answer_was_lost_is_sent_once(
    redis_server: RedisServer, redis_url: str, session_id: str
) -> None:
    """The connection breaks when it is stored and not yet answered: the sender notices nothing."""
    async with Hub.from_url(redis_url) as hub, FaultyProxy(redis_server.port) as proxy:
        stream, _ = await hub.register(session_id)
        async with Hub.from_url(proxy.url) as elsewhere:
            other = await elsewhere.get(session_id)
            assert other is not None
            lost = proxy.lose_answer_to(b"only once")
            sent = await other.send("only once")
            assert lost.is_set()
        await stream.send("end")
        async with stream.inbox() as inbox:
            messages = [await anext(inbox) for _ in range(2)]

    assert ["only once", "end"] == [message.data for message in messages]
    assert sent == messages[0].id
