"""A session is taken from a producer that hangs, for a supervisor to go on with."""

from __future__ import annotations

import pytest

from streamhub import (
    Hub,
    HubConfig,
    LiveStream,
    LostSession,
    NotSupervised,
    ProducerFenced,
    SessionNotFound,
    Status,
)
from streamhub.testing.waiting import until, within

from ..conftest import MakeHub

#: So long that nothing happens because a lease has lapsed.
CALM = HubConfig(lease=300.0)


async def found(make_hub: MakeHub, session_id: str) -> LiveStream:
    stream = await make_hub(CALM).get(session_id)
    assert stream is not None
    return stream


async def claimed(hub: Hub, session_id: str, *, supervised: bool) -> LiveStream:
    """A producer of Ann's, claimed once a supervisor is known."""

    async def is_as_wanted() -> bool:
        stream, _ = await hub.register(session_id, owner="ann", takeover="restart")
        if bool((await stream.info()).feeds) is supervised:
            producers.append(stream)
            return True
        await stream.close()
        return False

    producers: list[LiveStream] = []
    await until(is_as_wanted)
    return producers[0]


async def test_a_supervisor_goes_on_and_the_old_producer_is_fenced(make_hub: MakeHub) -> None:
    """At once, however long the lease is; who reads the session reads on."""

    async def resume(lost: LostSession) -> list[str]:
        return [f"two after {lost.text}"]

    async with make_hub(CALM).supervise(resume, owner="ann"):
        producer = await claimed(make_hub(CALM), "chat", supervised=True)
        await producer.publish("one ")
        await within(producer.flush())
        reader = await found(make_hub, "chat")
        subscription = reader.subscribe()
        assert "one " == (await within(anext(subscription))).data
        assert await within(reader.hand_over()) is not Status.CANCELLED
        rest = [chunk.data async for chunk in subscription]
        assert ["two after one "] == rest
        info = await reader.info()
        assert (Status.FINISHED, 1, 1, 1) == (
            info.status,
            info.resumes,
            info.handovers,
            info.base,
        )
        assert Status.FINISHED is await reader.hand_over()
    with pytest.raises(ProducerFenced):
        await producer.publish("late")
        await within(producer.flush())


async def test_nothing_is_taken_that_nobody_would_go_on_with(make_hub: MakeHub) -> None:
    """Without a supervisor for its owner the producer keeps its session."""
    producer = await claimed(make_hub(CALM), "chat", supervised=False)
    reader = await found(make_hub, "chat")

    async def resume(lost: LostSession) -> None:
        raise AssertionError(lost)

    async with make_hub(CALM).supervise(resume, owner="bob"):
        with pytest.raises(NotSupervised, match=r"'chat'.*supervisor"):
            await reader.hand_over()
    async with make_hub(CALM).supervise(resume, owner="ann"):
        # Known by now; but who reads what was claimed before would not wait for it.
        await claimed(make_hub(CALM), "later", supervised=True)
        with pytest.raises(NotSupervised, match=r"'chat'.*when it was claimed"):
            await reader.hand_over()
    await producer.publish("on")
    await within(producer.flush())
    assert Status.ACTIVE is (await reader.info()).status


async def test_what_is_asked_to_stop_or_gone_is_not_handed_over(make_hub: MakeHub) -> None:
    """A cancel comes first; a stream that was replaced or removed is not there any more."""
    hub = make_hub(CALM)
    stopping, _ = await hub.register("stopping", on_cancel=lambda: None)
    await stopping.cancel()
    assert Status.ACTIVE is await (await found(make_hub, "stopping")).hand_over()
    await hub.register("gone")
    gone = await found(make_hub, "gone")
    await hub.remove("gone")
    with pytest.raises(SessionNotFound):
        await gone.hand_over()
