"""Servers that are not there, are something else, or take no writes: each its own clear error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from streamhub import (
    Hub,
    HubConfig,
    LiveStream,
    Status,
    StoreAuthenticationFailed,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnsupported,
)
from streamhub.testing.waiting import bounded, unhurried, until

from ..support.redis_server import RedisServer
from ..support.redis_stage import BOUND, Stage, claimed

SOON = 10.0
PASSWORD = "s3cr3t-pass"


@asynccontextmanager
async def listening(answer: bytes | None) -> AsyncIterator[str]:
    """A server that answers whatever it is asked by ``answer``, or by silence."""
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        while await reader.read(4096):
            if answer is not None:
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in connections:
            writer.close()


@pytest.fixture
async def stage(make_redis: Callable[[], RedisServer]) -> AsyncIterator[Stage]:
    async with bounded(2 * BOUND), Stage(make_redis()) as stage:
        yield stage


async def assert_refused(url: str, kind: type[StoreUnavailable]) -> None:
    """Every call raises exactly ``kind``, soon."""
    async with Hub.from_url(url, config=HubConfig(lease=unhurried(1.0))) as hub:
        for call in (lambda: hub.register("chat"), lambda: hub.get("chat")):
            with pytest.raises(StoreUnavailable) as refused:
                async with bounded(SOON):
                    await call()
            assert (kind, PASSWORD in str(refused.value)) == (type(refused.value), False)
            assert refused.value.store in str(refused.value)


async def test_an_unreachable_server_is_unavailable() -> None:
    """Nobody listens at that port."""
    async with listening(None) as address:
        pass
    await assert_refused(f"redis://{address}", StoreUnavailable)


async def test_a_silent_server_is_unavailable() -> None:
    """It accepts and never answers."""
    async with listening(None) as address:
        await assert_refused(f"redis://{address}?socket_timeout=0.5", StoreUnavailable)


async def test_a_server_that_is_not_redis_is_unsupported() -> None:
    """An HTTP server is told from a broken connection."""
    async with listening(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as address:
        await assert_refused(f"redis://{address}", StoreUnsupported)


async def test_tls_against_a_plaintext_server_is_unavailable(redis_server: RedisServer) -> None:
    """The handshake does not hang."""
    url = redis_server.url.replace("redis://", "rediss://")
    await assert_refused(f"{url}?socket_timeout=0.5", StoreUnavailable)


@pytest.mark.parametrize("login", ["", ":wrong@", f"nobody:{PASSWORD}@"])
async def test_a_wrong_password_is_an_authentication_error(
    make_redis: Callable[..., RedisServer], login: str, caplog: pytest.LogCaptureFixture
) -> None:
    """None at all, a wrong one, an unknown user."""
    caplog.set_level(logging.DEBUG)
    server = make_redis(password=PASSWORD)
    await assert_refused(f"redis://{login}127.0.0.1:{server.port}", StoreAuthenticationFailed)
    assert PASSWORD not in caplog.text


async def test_the_password_is_never_seen(
    make_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    """Not in a repr, an error or a log, also while the server is away."""
    caplog.set_level(logging.DEBUG)
    server = make_redis(password=PASSWORD)

    async def logged() -> bool:
        return bool(caplog.text)

    async with Hub.from_url(server.url) as hub:
        stream = await claimed(hub, "chat")
        server.kill()
        with pytest.raises(StoreUnavailable) as unavailable:
            await hub.get("other")
        await until(logged)
        await hub.aclose()
    seen = f"{hub!r}{stream!r}{unavailable.value!r}{caplog.text}"
    assert PASSWORD not in seen


@pytest.mark.parametrize("takeover", ["restart", "continue"])
async def test_a_user_without_rights_on_channels_changes_nothing(
    stage: Stage, takeover: str
) -> None:
    """register(), cancel() and remove() raise StoreAuthenticationFailed, and session and chunks
    stand as before, TTLs apart."""
    hub = stage.hub()
    stream = await claimed(hub, "chat")
    await stream.publish("kept")
    await stream.fail("crashed")
    lost = await claimed(stage.hub(HubConfig(lease=0.1, give_up_after=0.1)), "lost")
    await stage.client.hset("streamhub:{lost}:meta", "lease", 0)
    before = {key: await stage.client.dump(key) for key in await stage.client.keys("streamhub:{*")}
    await stage.client.execute_command("ACL", "SETUSER", "default", "resetchannels")

    calls = (
        lambda: hub.register("chat", takeover=takeover),  # type: ignore[arg-type]
        lambda: hub.remove("chat"),
        lambda: hub.register("lost", takeover=takeover),  # type: ignore[arg-type]
        lost.cancel,
    )
    for call in calls:
        with pytest.raises(StoreAuthenticationFailed):
            async with bounded(SOON):
                await call()

    assert before == {
        key: await stage.client.dump(key) for key in await stage.client.keys("streamhub:{*")
    }
    assert ("kept", Status.FAILED) == (await stream.text(), (await stream.info()).status)


async def test_chunks_of_a_user_without_rights_on_channels_are_stored_and_read(
    stage: Stage,
) -> None:
    """Nothing can be told live then, to nobody: the log is read instead, to its last chunk."""
    await stage.client.execute_command("ACL", "SETUSER", "other", "on", ">pw", "~*", "&*", "+@all")
    other = f"redis://other:pw@127.0.0.1:{stage.server.port}/0"
    hub = stage.hub(HubConfig(lease=5.0), url=other)
    stream = await claimed(hub, "chat")
    reader = await stage.hub(HubConfig(lease=5.0), url=other).get("chat")
    assert reader is not None
    subscription = reader.subscribe()
    await stage.client.execute_command("ACL", "SETUSER", "other", "resetchannels")
    await stage.client.client_kill_filter(_type="pubsub")
    for n in range(3):
        await stream.publish(f"{n}")
        await stream.flush()
        assert f"{n}" == (await anext(subscription)).data
    await stage.client.execute_command("ACL", "SETUSER", "other", "&*")
    await stream.close()
    assert [] == [chunk async for chunk in subscription]
    assert Status.FINISHED == subscription.status


@pytest.mark.slow
async def test_a_stream_that_breaks_the_connection_each_time_harms_no_other(
    make_redis: Callable[..., RedisServer],
) -> None:
    """Redis closes the connection on a chunk that is too large for it. The other streams of the
    hub, before and after it, are stored all the same; this one raises StoreUnavailable."""
    config = HubConfig(lease=unhurried(0.5), give_up_after=8.0)
    async with Stage(make_redis(arguments=("--proto-max-bulk-len", "1mb"))) as stage:
        hub = stage.hub(config)
        streams = [await claimed(hub, f"chat:{n}") for n in range(4)]
        data: list[list[str]] = [[] for _ in streams]
        too_large = asyncio.create_task(_publish_too_much(streams[1], config))
        async with bounded(BOUND):
            while not too_large.done():
                for n in (0, 2, 3):
                    data[n].append(f"{len(data[n])} ")
                    await streams[n].publish(data[n][-1])
                await asyncio.gather(*(streams[n].flush() for n in (0, 2, 3)))
        await too_large
        for n in (0, 2, 3):
            await streams[n].close()
            assert "".join(data[n]) == await streams[n].text()


async def _publish_too_much(stream: LiveStream, config: HubConfig) -> None:
    await stream.publish("x" * config.max_chunk_bytes)
    with pytest.raises(StoreUnavailable):
        await stream.flush()


async def test_a_read_only_replica_is_read_and_not_written(
    make_redis: Callable[..., RedisServer], stage: Stage
) -> None:
    """Writes raise StoreReadOnly, reads work, and nothing is lost."""
    hub = stage.hub()
    async with await claimed(hub, "chat") as stream:
        await stream.publish("kept")
    replica = make_redis(replica_of=stage.server)
    await stage.client.set("last", "write", px=60_000)
    assert 1 == await stage.client.wait(1, int(SOON * 1000))
    async with bounded(SOON), Hub.from_url(replica.url) as other:
        reader = await other.get("chat")
        assert reader is not None
        assert "kept" == "".join([chunk.data async for chunk in reader.subscribe()])
        for write in (lambda: other.register("chat"), lambda: other.remove("chat")):
            with pytest.raises(StoreReadOnly):
                await write()
        assert "kept" == await reader.text()
