"""Which operations one script call carries out."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest

from streamhub.chunks import Item, Status, Terms, size_of
from streamhub.stores.base import (
    Append,
    Behind,
    Claim,
    Fenced,
    Granted,
    HasHoles,
    Over,
    Renew,
    Stored,
    WriteOp,
    WriteResult,
)
from streamhub.stores.redis import RedisStore
from streamhub.stores.redis.layout.script_calls import Calls
from streamhub.stores.redis.layout.scripts import load_scripts


def append(number: int, items: list[Item], *, lease: float = 15.0, kept: float = 60.0) -> Append:
    claim = Claim(f"s{number}", "g", Terms.first(7), replaced=None, lease=lease, retention=kept)
    return Append(claim, 0, items, 1, term=7)


def carried(ops: list[WriteOp], together: int = 16) -> list[int]:
    """How many operations each call carries out; all of them, and in their order."""
    calls = Calls(load_scripts(sharded=False), prefix="p:", together=together).of(ops)
    assert ops == [op for _, its in calls for op in its]
    return [len(its) for _, its in calls]


def test_chunks_of_several_sessions_share_a_call() -> None:
    """As many as it may be of; in a cluster each has its own."""
    ops: list[WriteOp] = [append(n, ["a"]) for n in range(40)]
    assert [16, 16, 8] == carried(ops)
    assert [1] * 40 == carried(ops, together=1)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["a"] * 100, [5, 5, 5, 1]),  # many chunks
        (["a" * 100_000], [2] * 8),  # long ones
        (["a"] * 512, [1] * 16),  # as many as one append has at most
        (["a" * 300_000], [1] * 16),  # more than a call should have: each goes all the same
    ],
)
def test_a_call_is_bounded_in_chunks_and_bytes(items: list[Item], expected: list[int]) -> None:
    """It holds the server for about a millisecond at most."""
    assert expected == carried([append(n, items) for n in range(16)])


def test_claims_of_other_terms_have_another_call() -> None:
    """Lease and retention are arguments of the call."""
    ops: list[WriteOp] = [
        append(1, ["a"]),
        append(2, ["a"]),
        append(3, ["a"], lease=5.0),
        append(4, ["a"], lease=5.0, kept=9.0),
        append(5, ["a"], lease=5.0, kept=9.0),
    ]
    assert [2, 1, 2] == carried(ops)


def test_other_operations_keep_their_place() -> None:
    """What stands between chunks is carried out between them."""
    renewal = Renew(append(2, []).claim, 0)
    assert [1, 1, 2] == carried([append(1, ["a"]), renewal, append(2, ["a"]), append(3, ["a"])])


#: What appends one after the other hold.
APPENDS: dict[str, list[list[Item]]] = {
    "one at a time": [["a"], ["b"], ["ä"]],
    "many": [["a", "b", "c"], ["d"] * 40],
    "of an event type": [[("{}", "ui")], ["a", ("", "ui")]],
    "empty": [[""], ["", ""]],
}


@pytest.mark.parametrize("appends", APPENDS)
async def test_an_append_is_the_same_whether_or_not_a_record_is_made(
    redis_url: str, redis_client: Any, appends: str
) -> None:
    """The script reads all of the record where a field is there that it must look into: answers,
    log and record are those of an append that found it as its producer left it."""
    found = []
    store = RedisStore.from_url(redis_url)
    for name in ("short way", "long way"):
        granted = await store.claim(name, "g", takeover="restart", lease=15.0, retention=60.0)
        assert isinstance(granted, Granted)
        meta, chunks = (f"streamhub:{{{name}}}:{key}" for key in ("meta", "chunks"))
        term, base, size, answers = granted.claim.terms.current, 0, 0, []
        for items in APPENDS[appends]:
            if name == "long way":
                await redis_client.hset(meta, "cancel", "0")
            size += sum(map(size_of, items))
            answers += await store.write([Append(granted.claim, base, items, size, term)])
            base += len(items)
        record = await redis_client.hmget(meta, "status", "gen", "last", "bytes", "outcome")
        entries = await redis_client.xrange(chunks)
        ids = [key.replace(str(term).encode(), b"term") for key, _ in entries]
        found.append((answers, record, ids, [fields for _, fields in entries]))
    await store.aclose()

    assert found[0] == found[1]
    assert [Stored(at) for at in accumulate(map(len, APPENDS[appends]))] == found[0][0]


#: What has become of a record of two chunks before it is renewed, and what its producer is told.
RENEWALS: dict[str, tuple[dict[str, str], int, WriteResult]] = {
    "as it was left": ({}, 2, Stored(2)),
    "ahead of its producer": ({}, 1, Stored(2)),
    "behind": ({}, 3, Behind(2)),
    "with holes": ({"last": "3"}, 2, HasHoles()),
    "of other terms": ({"terms": "5-0"}, 2, HasHoles()),
    "another's": ({"gen": "h", "claim": "h"}, 2, Fenced("h")),
    "given up": ({"lease": "0"}, 2, Stored(2)),
    "over": ({"status": "done", "outcome": "failed"}, 2, Over(Status.FAILED)),
}


@pytest.mark.parametrize("become", RENEWALS)
async def test_a_renewal_is_the_same_whether_or_not_a_record_is_made(
    redis_url: str, redis_client: Any, become: str
) -> None:
    """As with an append: a flag that means no cancel has the script look at all of the record."""
    changed, last, expected = RENEWALS[become]
    found = []
    store = RedisStore.from_url(redis_url)
    for name in ("short way", "long way"):
        granted = await store.claim(name, "g", takeover="restart", lease=900.0, retention=90.0)
        assert isinstance(granted, Granted)
        await store.write([Append(granted.claim, 0, ["a", "b"], 2, granted.claim.terms.current)])
        meta = f"streamhub:{{{name}}}:meta"
        if name == "long way":
            await redis_client.hset(meta, "cancel", "0")
        await redis_client.hset(meta, mapping={"granted": "1", **changed})
        answers = await store.renew([Renew(granted.claim, last)])
        record = await redis_client.hmget(meta, "status", "gen", "last", "granted", "outcome")
        found.append((answers, record, (await redis_client.pttl(meta)) // 60_000))
    await store.aclose()

    assert found[0] == found[1]
    assert [expected] == found[0][0]
