"""The steps that the tests of a store are written in."""

from __future__ import annotations

from collections.abc import Sequence

from ...chunks import Chunk, Item, SessionInfo, Status
from ...stores.base import (
    Append,
    Claim,
    Finish,
    Granted,
    Over,
    Refused,
    Release,
    Store,
    Takeover,
    WriteOp,
    WriteResult,
)
from ..scene import new_generation

__all__ = [
    "append",
    "attempt",
    "claim",
    "end",
    "listed",
    "look",
    "lose",
    "read",
    "texts",
    "to_append",
    "write",
]


async def attempt(
    store: Store,
    session_id: str,
    generation: str | None = None,
    *,
    takeover: Takeover = "restart",
    lease: float = 60.0,
    retention: float = 60.0,
    owner: str | None = None,
    metadata: str | None = None,
    request: str | None = None,
    same_owner: bool = False,
    replaces: str | None = None,
    traceparent: str | None = None,
) -> Granted | Refused:
    """Try to claim, with times so long that nothing lapses during a test."""
    return await store.claim(
        session_id,
        generation or new_generation(),
        takeover=takeover,
        lease=lease,
        retention=retention,
        owner=owner,
        metadata=metadata,
        request=request,
        same_owner=same_owner,
        replaces=replaces,
        traceparent=traceparent,
    )


async def claim(
    store: Store,
    session_id: str,
    *,
    takeover: Takeover = "restart",
    lease: float = 60.0,
    retention: float = 60.0,
    owner: str | None = None,
    metadata: str | None = None,
    request: str | None = None,
    same_owner: bool = False,
    traceparent: str | None = None,
) -> Claim:
    """Claim as a new generation what can be claimed."""
    answer = await attempt(
        store,
        session_id,
        takeover=takeover,
        lease=lease,
        retention=retention,
        owner=owner,
        metadata=metadata,
        request=request,
        same_owner=same_owner,
        traceparent=traceparent,
    )
    assert isinstance(answer, Granted)
    return answer.claim


async def write(store: Store, op: WriteOp) -> WriteResult:
    """Carry out one operation."""
    [answer] = await store.write([op])
    if isinstance(answer, Exception):
        raise answer
    return answer


def to_append(claim: Claim, items: Sequence[Item], *, after: Sequence[Item] = ()) -> Append:
    """The operation that puts ``items`` after those that the producer stored before."""
    total = sum(_size(item) for item in (*after, *items))
    return Append(
        claim, len(after), items, total_bytes=total, term=claim.terms.place(len(after)).term
    )


async def append(
    store: Store, claim: Claim, items: Sequence[Item], *, after: Sequence[Item] = ()
) -> WriteResult:
    """Store ``items`` after those that the producer stored before."""
    return await write(store, to_append(claim, items, after=after))


async def end(
    store: Store, claim: Claim, status: Status, *, last: int = 0, error: str | None = None
) -> None:
    """Bring a session to the standing ``status``, ``LOST`` included."""
    if status is Status.LOST:
        await lose(store, claim, last=last)
    else:
        answer = await write(store, Finish(claim, last=last, status=status, error=error))
        assert Over(status) == answer


async def lose(store: Store, claim: Claim, *, last: int = 0) -> None:
    """Make the session lost without waiting for its lease."""
    await write(store, Release(claim, last=last))


async def look(store: Store, session_id: str, *, metadata: bool = False) -> SessionInfo:
    """How a session stands that has to be there."""
    [info] = await store.look([session_id], metadata=metadata)
    assert isinstance(info, SessionInfo)
    return info


async def listed(store: Store) -> list[str]:
    """The sessions that the store names, and has."""
    found = [session_id async for session_id in store.sessions()]
    infos = await store.look(found)
    return [one for one, info in zip(found, infos, strict=True) if info is not None]


async def read(store: Store, claim: Claim, *, after: int = 0, limit: int = 10_000) -> list[Chunk]:
    """The log of the claim, all of its terms."""
    terms, chunks = claim.terms, list[Chunk]()
    while len(chunks) < limit:
        more = min(
            limit - len(chunks), terms.end_of_span(after + len(chunks)) - after - len(chunks)
        )
        place = terms.place(after + len(chunks))
        page = await store.read(claim.session_id, place, int(more))
        chunks += page
        if not page or chunks[-1].cursor.offset != after + len(chunks):
            break
    return chunks


async def texts(store: Store, claim: Claim) -> list[str]:
    """The data of all chunks in the log of the claim's epoch."""
    return [chunk.data for chunk in await read(store, claim)]


def _size(item: Item) -> int:
    parts = (item,) if isinstance(item, str) else item
    return max(1, sum(len(part.encode()) for part in parts))
