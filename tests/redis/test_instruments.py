"""What instruments are told of a store in Redis: its connections, and what it loses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamhub import Hub, HubConfig
from streamhub.instruments import Event, events
from streamhub.testing.waiting import until

from ..support.redis_server import RedisServer

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Ear:
    def __init__(self) -> None:
        self.heard: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.heard.append(event)

    def context(self, takeover: str) -> str:
        return TRACE

    def of(self, *kinds: type[Any]) -> list[Any]:
        return [one for one in self.heard if isinstance(one, kinds)]


async def test_a_server_that_loses_everything_is_told_and_so_is_what_is_put_back(
    make_redis: Callable[..., RedisServer],
) -> None:
    """Each connection when it opens, breaks off and is open again; what the store has lost, that it
    is put back, and the trace with it. No password."""
    server = make_redis(password="s3cret")
    ear, config = Ear(), HubConfig(lease=2.0)
    async with Hub.from_url(server.url, config=config, instruments=[ear]) as hub:
        stream, _ = await hub.register("chat:1", owner="ada")
        reader = stream.subscribe()
        await stream.publish("one")
        assert "one" == (await anext(reader)).data
        server.kill()
        server.start()
        await stream.publish("two")
        await stream.flush()
        assert "two" == (await anext(reader)).data

        async def is_back() -> bool:
            return {"writes", "claims", "live"} <= {
                one.purpose for one in ear.of(events.Connected) if one.again
            }

        await until(is_back)
        info = await stream.info()
        await stream.close()

    assert TRACE == info.traceparent
    first = [one for one in ear.of(events.Connected) if not one.again]
    assert {"writes", "claims", "reads", "live"} == {one.purpose for one in first}
    assert len(first) == 4
    lost = ear.of(events.Disconnected)
    assert {"writes", "claims", "live"} <= {one.purpose for one in lost}
    # A renewal that was under way meanwhile may have it put back twice.
    repaired, *_ = ear.of(events.Repaired)
    assert ("chat:1", "ada", 0) == (repaired.session_id, repaired.owner, repaired.kept)
    assert "is gone from the store" == ear.of(events.DataLost)[0].reason
    assert "Closed" == type(ear.heard[-1]).__name__
    assert "s3cret" not in repr(ear.heard)


async def test_what_a_hub_closes_itself_has_not_broken_off(redis_url: str) -> None:
    """A hub that closes tells of no connection that is lost, and of its streams what they came
    to."""
    ear = Ear()
    async with Hub.from_url(redis_url, instruments=[ear]) as hub:
        stream, _ = await hub.register("chat:1")
        await stream.publish("one")
        async for _ in stream.subscribe():
            break
        opened = len(ear.of(events.Connected))
        assert hub.statistics().connections == opened

    assert [] == ear.of(events.Disconnected)
    assert [1] == [one.chunks for one in ear.of(events.Released)]
    assert [1] == [one.chunks for one in ear.of(events.Unsubscribed)]
