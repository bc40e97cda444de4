"""Taking a session over from the Go library, and it from us: nothing is glued together (G1, G2)."""

from __future__ import annotations

from typing import Literal

import pytest
import redis.asyncio

from streamhub import (
    Hub,
    ProducerFenced,
    Status,
    StreamReplaced,
)

from ...support.go_session import GENERATIONS, GoSession
from .conftest import CONFIG, found


async def test_a_session_that_the_go_side_took_over_is_understood(
    hub: Hub, go: GoSession, session_id: str, redis_url: str
) -> None:
    """Our fields are left in the hash: they are not taken for its own, the open subscriber of the
    old text raises, and our producer is fenced."""
    stream, _ = await hub.register(session_id, owner="ann")
    await stream.publish("ours")
    await stream.flush()
    async with Hub.from_url(redis_url, config=CONFIG) as elsewhere:
        subscription = (await found(elsewhere, session_id)).subscribe()
        await anext(subscription)
        await go.register()
        await go.publish("theirs")
        with pytest.raises(ProducerFenced) as fenced:
            await stream.publish("stale")
            await stream.flush()
        assert go.generation == fenced.value.current
        with pytest.raises(StreamReplaced):
            await anext(subscription)
        info = await (await found(elsewhere, session_id)).info()
        assert (go.generation, Status.ACTIVE, None) == (info.generation, info.status, info.epoch)
        new = (await found(elsewhere, session_id)).subscribe()
        assert "theirs" == (await anext(new)).data
        await go.close()
        assert [] == [chunk async for chunk in new]


@pytest.mark.parametrize("sequence", [0, 1])
async def test_a_go_session_that_began_anew_is_not_glued_to_the_old_one(
    hub: Hub, go: GoSession, session_id: str, sequence: int
) -> None:
    """A subscriber that is open meanwhile raises, and so does one that resumes at a cursor whose
    entry is gone: never the new text after the old one. Both with an entry that was the first of
    its millisecond and with a later one."""
    await go.register()
    (cursor,) = await go.publish("old ", at=f"1700000000000-{sequence}")
    stream = await found(hub, session_id)
    subscription = stream.subscribe()
    await anext(subscription)
    # The end of the old one and the new claim in one step: who looks in between has seen an end.
    go.generation = GENERATIONS[1]
    await go.register()
    await go.publish("new ")
    with pytest.raises(StreamReplaced):
        await anext(subscription)
    with pytest.raises(StreamReplaced):
        await anext((await found(hub, session_id)).subscribe(after=cursor))


@pytest.mark.parametrize("takeover", ["restart", "continue"])
async def test_a_live_go_session_is_never_claimed(
    hub: Hub, go: GoSession, session_id: str, takeover: Literal["restart", "continue"]
) -> None:
    """It has no lease: it is alive while its meta key is there, even with our old one in it."""
    await (await hub.register(session_id))[0].fail("crashed")
    await go.register()
    await go.publish("theirs")
    stream, created = await hub.register(session_id, takeover=takeover)
    assert (False, None) == (created, stream.generation)
    assert ("active", ["theirs"]) == await go.read()


@pytest.mark.parametrize(
    ("cancelled", "takeover", "created"),
    [
        (False, "restart", True),
        (True, "restart", True),
        (False, "continue", False),
        (True, "continue", True),
    ],
)
async def test_an_ended_go_session_is_taken_over_like_any_other(
    hub: Hub,
    go: GoSession,
    session_id: str,
    redis_client: redis.asyncio.Redis,
    cancelled: bool,
    takeover: Literal["restart", "continue"],
    created: bool,
) -> None:
    """A finished one is complete and not continued; else a new epoch begins, not cancelled by the
    old flag."""
    await go.register()
    await go.publish("theirs")
    if cancelled:
        await redis_client.hset(go.meta, "cancel", "1")
    await go.close()
    stream, was_created = await hub.register(session_id, takeover=takeover)
    assert created == was_created
    if not created:
        assert ("done", ["theirs"]) == await go.read()
        return
    async with stream:
        await stream.publish("ours")
        await stream.flush()
    assert Status.FINISHED == await stream.wait()
    assert ("done", ["ours"]) == await go.read()


@pytest.mark.parametrize("published", [False, True])
async def test_a_cursor_of_ours_is_not_continued_by_what_go_wrote_since(
    hub: Hub, go: GoSession, session_id: str, published: bool
) -> None:
    """The Go side took the session over: resuming at a cursor of our epoch raises."""
    stream, _ = await hub.register(session_id)
    cursors = [await stream.publish("ours "), await stream.publish("ours ")]
    await stream.fail("crashed")
    await go.register()
    if published:
        await go.publish("theirs ", "theirs ")
    reader = await found(hub, session_id)
    for cursor in cursors:
        with pytest.raises(StreamReplaced):
            await anext(reader.subscribe(after=cursor))


async def test_a_cursor_of_go_is_not_continued_by_what_we_wrote_since(
    hub: Hub, go: GoSession, session_id: str
) -> None:
    """We restarted the session: resuming at an entry of the Go side raises."""
    await go.register()
    *_, cursor = await go.publish("theirs ", "theirs ")
    await go.close()
    stream, created = await hub.register(session_id)
    assert created
    async with stream:
        await stream.publish("ours")
    with pytest.raises(StreamReplaced):
        await anext((await found(hub, session_id)).subscribe(after=cursor))


async def test_g9_a_handle_on_a_go_session_does_not_cancel_the_next_one(
    hub: Hub, go: GoSession, session_id: str, redis_client: redis.asyncio.Redis
) -> None:
    """The generation that it was opened on is gone: LOST, and no flag is set."""
    await go.register()
    stream = await found(hub, session_id)
    await go.close()
    go.generation = GENERATIONS[1]
    await go.register()
    assert Status.LOST == await stream.cancel()
    assert not await redis_client.hexists(go.meta, "cancel")
