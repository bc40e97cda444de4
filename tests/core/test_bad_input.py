"""Bad input: each its own clear error, soon, and nothing already stored is lost by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from streamhub import (
    ChunkTooLarge,
    Cursor,
    Hub,
    HubClosed,
    HubConfig,
    InvalidChunk,
    InvalidCursor,
    InvalidMetadata,
    InvalidSessionId,
    InvalidStoreUrl,
    NotProducer,
    StreamClosed,
    StreamReplaced,
    StreamTooLarge,
)
from streamhub.testing.waiting import bounded

from ..conftest import MakeHub

SOON = 10.0
PASSWORD = "s3cr3t-pass"


@pytest.mark.parametrize(
    "session_id",
    ["", "x" * 513, "é" * 257, "a\nb", "a\0b", "\x7f", "\x9f", "\ud800", None, 7, b"bytes"],
)
async def test_a_session_id_that_is_not_allowed_is_refused(hub: Hub, session_id: object) -> None:
    """Every way in raises InvalidSessionId, which says what is allowed."""
    ways: list[Callable[[], object]] = [
        lambda: hub.register(session_id),  # type: ignore[arg-type]
        lambda: hub.run(session_id, ["never"]),  # type: ignore[arg-type]
        lambda: hub.get(session_id),  # type: ignore[arg-type]
        lambda: hub.remove(session_id),  # type: ignore[arg-type]
        lambda: hub.active([session_id]),  # type: ignore[list-item]
    ]
    for way in ways:
        with pytest.raises(InvalidSessionId, match="1 to 512 bytes of UTF-8"):
            async with bounded(SOON):
                await way()  # type: ignore[misc]


@pytest.mark.parametrize("owner", ["x" * 513, "é" * 257, "\ud800", 7, b"bytes"])
async def test_an_owner_that_is_not_allowed_is_refused(
    hub: Hub, session_id: str, owner: object
) -> None:
    """The error says what is allowed, and is short; nothing is claimed."""
    with pytest.raises(ValueError, match=r"owner must be .*UTF-8") as refused:
        await hub.register(session_id, owner=owner)  # type: ignore[arg-type]

    assert len(str(refused.value)) < 200
    assert await hub.get(session_id) is None


@pytest.mark.parametrize(
    "after",
    [
        "",
        "x",
        "1",
        "1-",
        "-1",
        "1-2-3",
        "1-01",
        "1--2",
        " 1-2",
        "1-2\n",
        "٣-٤",
        f"{2**64}-1",
        5,
        b"1-2",
        Cursor(-1, 1),
        Cursor(1, -1),
        Cursor(2**64, 1),
    ],
)
async def test_a_malformed_cursor_is_refused_where_it_is_given(
    hub: Hub, session_id: str, after: object
) -> None:
    """subscribe() itself raises InvalidCursor, before anything is read."""
    stream, _ = await hub.register(session_id)
    with pytest.raises(InvalidCursor):
        stream.subscribe(after=after)  # type: ignore[arg-type]


async def test_a_cursor_of_another_epoch_or_beyond_the_end_is_told(
    hub: Hub, session_id: str
) -> None:
    """StreamReplaced names the cursor and the epoch: no chunk of this log has it, or will."""
    stream, _ = await hub.register(session_id)
    cursor = await stream.publish("only")
    await stream.close()
    async with bounded(SOON):
        with pytest.raises(StreamReplaced, match=str(cursor.term)):
            await anext(stream.subscribe(after=Cursor(cursor.term - 1, 1)))
        with pytest.raises(StreamReplaced, match=f"{cursor.term}-2"):
            await anext(stream.subscribe(after=Cursor(cursor.term, 2)))
    assert "only" == await stream.text()


async def test_chunks_that_cannot_be_stored_are_refused_and_the_stream_goes_on(
    make_hub: MakeHub, session_id: str
) -> None:
    """Not str, a lone surrogate, over the chunk limit, over the stream limit: each its error."""
    hub = make_hub(HubConfig(max_chunk_bytes=8, max_stream_bytes=20))
    stream, _ = await hub.register(session_id)
    async with bounded(SOON), stream:
        await stream.publish("12345678")
        for chunk in (b"bytes", None, 7, "\ud800"):
            with pytest.raises(InvalidChunk):
                await stream.publish(chunk)  # type: ignore[arg-type]
        for event in ("", "a\nb", "\ud800", 7):
            with pytest.raises(InvalidChunk):
                await stream.publish("x", event=event)  # type: ignore[arg-type]
        with pytest.raises(ChunkTooLarge, match=r"9 bytes.*8"):
            await stream.publish("éééé1")
        await stream.publish("12345678")
        with pytest.raises(StreamTooLarge, match=r"24 bytes.*20"):
            await stream.publish("12345678")
        await stream.publish("1234")
    assert "12345678123456781234" == await stream.text()


@pytest.mark.parametrize("metadata", [{1, 2}, b"bytes", float("nan"), {"x": "\ud800"}, "x" * 99])
async def test_metadata_that_is_not_json_is_refused(
    make_hub: MakeHub, session_id: str, metadata: object
) -> None:
    """InvalidMetadata, at register and later; what was set before stays."""
    hub = make_hub(HubConfig(max_chunk_bytes=64))
    with pytest.raises(InvalidMetadata):
        await hub.register(session_id, metadata=metadata)
    assert await hub.get(session_id) is None
    stream, _ = await hub.register(session_id, metadata="kept")
    with pytest.raises(InvalidMetadata):
        await stream.set_metadata(metadata)
    assert "kept" == await stream.metadata()
    await stream.close()


async def test_a_reader_may_not_write(hub: Hub, session_id: str) -> None:
    """Every write on a reader's handle raises NotProducer."""
    stream, _ = await hub.register(session_id)
    reader = await hub.get(session_id)
    assert reader is not None
    for write in (
        lambda: reader.publish("x"),
        reader.flush,
        reader.close,
        lambda: reader.fail("x"),
        lambda: reader.set_metadata({}),
        reader.__aenter__,
    ):
        with pytest.raises(NotProducer, match="only its producer"):
            await write()
    await stream.close()
    assert "" == await stream.text()


async def test_an_ended_stream_takes_no_more(hub: Hub, session_id: str) -> None:
    """publish and set_metadata after close raise StreamClosed with the status."""
    stream, _ = await hub.register(session_id)
    await stream.publish("all")
    await stream.close()
    for write in (lambda: stream.publish("x"), lambda: stream.set_metadata({})):
        with pytest.raises(StreamClosed, match="finished"):
            await write()
    await stream.close()
    assert "all" == await stream.text()


async def test_a_closed_hub_refuses_everything(make_hub: MakeHub, session_id: str) -> None:
    """Each call raises HubClosed, and a source that was handed in is closed."""
    hub = make_hub()
    stream, _ = await hub.register(session_id)
    await hub.aclose()
    closed = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield "never"

    class Source:
        def __aiter__(self) -> AsyncIterator[str]:
            return source()

        async def aclose(self) -> None:
            closed.set()

    ways: list[Callable[[], object]] = [
        lambda: hub.register(session_id),
        lambda: hub.run(session_id, Source()),
        lambda: hub.get(session_id),
        lambda: hub.active([session_id]),
        lambda: hub.remove(session_id),
        lambda: anext(hub.sessions()),
        lambda: stream.publish("x"),
        stream.cancel,
        stream.info,
        stream.text,
        stream.wait,
    ]
    for way in ways:
        with pytest.raises(HubClosed):
            async with bounded(SOON):
                await way()  # type: ignore[misc]
    assert closed.is_set()


async def test_active_takes_several_ids(hub: Hub, session_id: str) -> None:
    """One str is not taken for the ids of its characters."""
    await hub.register(session_id)
    with pytest.raises(TypeError, match=session_id):
        await hub.active(session_id)
    assert {session_id} == await hub.active([session_id])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        f"http://user:{PASSWORD}@localhost",
        f"redis:{PASSWORD}@localhost:6379",
        f"redis:{PASSWORD}@localhost://6379",
        f"redis://:{PASSWORD}@localhost:port",
        f"redis://:{PASSWORD}@localhost:99999",
        f"redis://:{PASSWORD}@localhost/zero",
        f"redis://:{PASSWORD}@localhost/0?socket_timeout=soon",
        f"redis://:{PASSWORD}@localhost/0?no_such_option=1",
        f"redis://:{PASSWORD}@[::1/0",
        f"unix://:{PASSWORD}@",
        "memory://somewhere",
        None,
    ],
)
async def test_a_url_that_names_no_store_is_refused(url: object) -> None:
    """InvalidStoreUrl, right from from_url, without the URL's password."""
    with pytest.raises(InvalidStoreUrl) as refused:
        Hub.from_url(url)  # type: ignore[arg-type]
    assert PASSWORD not in f"{refused.value!s}{refused.value!r}{vars(refused.value)}"
