"""What the responses of one session share: encoded once, bounded, never stale."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from httpx import AsyncClient

from streamhub import Chunk, Cursor, Hub
from streamhub.formats import SSE
from streamhub.serving.encode_once import Encoding
from streamhub.testing.waiting import within

from .serving import Followed, events, path_of, stored


def chunks(first: int, last: int, data: str = "x") -> list[Chunk]:
    return [Chunk(data, Cursor(7, offset)) for offset in range(first, last + 1)]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Chunk]:
    """Every chunk that is turned into an event, in order."""
    seen: list[Chunk] = []
    encode: Callable[[Chunk], bytes] = SSE.chunk

    def counting(chunk: Chunk) -> bytes:
        seen.append(chunk)
        return encode(chunk)

    monkeypatch.setattr(SSE, "chunk", counting)
    return seen


def shared() -> Encoding:
    """What two responses share."""
    encoding = Encoding(SSE)
    encoding.users = 2
    return encoding


def kept_bytes(encoding: Encoding) -> int:
    return sum(map(len, encoding._pieces.values())) + sum(
        len(row[-1]) for row in encoding._rows.values()
    )


def test_a_chunk_is_encoded_once(encoded: list[Chunk]) -> None:
    """Alone, in a row, and in rows that overlap."""
    encoding = shared()
    row = chunks(1, 9)
    wanted = [b"id: 7-%d\ndata: x\n\n" % n for n in range(1, 10)]

    assert wanted[0] == encoding.encode(row[:1])
    assert b"".join(wanted) == encoding.encode(row) == encoding.encode(row)
    assert b"".join(wanted[2:6]) == encoding.encode(row[2:6])
    # Equal ones, as another read of the log makes them.
    assert b"".join(wanted) == encoding.encode(chunks(1, 9))
    assert row == encoded


def test_a_stale_chunk_is_not_sent_under_a_cursor_that_names_another() -> None:
    """After a failover a cursor can come to name another chunk."""
    encoding = shared()
    old, new = chunks(1, 5, "old"), chunks(1, 5, "new")
    encoding.encode(old)
    encoding.encode(old[:1])

    assert b"id: 7-1\ndata: new\n\n" == encoding.encode(new[:1])
    assert 5 == encoding.encode(new).count(b"data: new\n")
    assert 5 == encoding.encode(old).count(b"data: old\n")


@pytest.mark.parametrize("size", [1, 100, 1000, 300_000])
def test_what_is_kept_is_bounded(size: int) -> None:
    """By one MiB, whatever passes through, one by one and in rows of every length."""
    encoding = shared()
    passed = 0
    first = 1
    while passed < 8_000_000 and first < 20_000:
        row = chunks(first, first + first % 300, "\n" * size)
        passed += len(encoding.encode(row[:1])) + len(encoding.encode(row))
        first += len(row)

    assert kept_bytes(encoding) <= 1024 * 1024


def test_a_session_with_one_client_keeps_nothing(encoded: list[Chunk]) -> None:
    """There is nobody to share with; so it is when all others have left."""
    encoding = Encoding(SSE)
    encoding.users = 1
    encoding.encode(chunks(1, 9))
    alone = kept_bytes(encoding)
    encoding.users = 2
    encoding.encode(chunks(1, 9))
    together = kept_bytes(encoding)
    encoding.leave()

    assert (0, True, 0) == (alone, together > 0, kept_bytes(encoding))


async def test_many_clients_share_what_is_sent(
    hub: Hub, client: AsyncClient, session_id: str, encoded: list[Chunk]
) -> None:
    """Each chunk is encoded once for all that follow, and for those who replay meanwhile."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    names = [str(n) for n in range(50)]
    async with AsyncExitStack() as stack:
        clients = [
            Followed(await stack.enter_async_context(client.stream("GET", path_of(session_id))))
            for _ in range(8)
        ]
        first = [(await one.next()).data for one in clients]
        for name in names:
            await stream.publish(name)
        rest = [[event.data for event in await one.take(len(names))] for one in clients]
        await stream.close()

    assert ["a"] * 8 == first
    assert [names] * 8 == rest
    # The first chunk was there before two had come to share it.
    assert names == [chunk.data for chunk in encoded if chunk.data != "a"]


async def test_chunks_that_are_ready_together_leave_together(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """A replay of many small chunks is a few writes, not one for each."""
    stream, _ = await hub.register(session_id)
    await stored(stream, *[str(n) for n in range(400)])
    async with client.stream("GET", path_of(session_id)) as response:
        pieces = Followed(response)
        await within(pieces.next())
        first = pieces.raw

    assert first.count(b"data: ") > 100


async def test_a_huge_chunk_leaves_in_pieces_and_whole(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """As large as any may be, and larger still on the wire."""
    stream, _ = await hub.register(session_id)
    huge = f"{'x' * 1023}\n" * (hub.config.max_chunk_bytes // 1024)
    await stored(stream, huge, "after")
    await stream.close()
    answer = await within(client.get(path_of(session_id)))

    assert [huge, "after"] == [event.data for event in events(answer.content)[:-1]]
