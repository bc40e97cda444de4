"""What the index has: which sessions there are, which feeds, and what each is to look after."""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from ...feeds import Due, is_supervisor, suits
from .keys import IndexKeys
from .record import ms
from .scripts import Call, Script

__all__ = [
    "LEASES_BETWEEN",
    "SLACK",
    "EndState",
    "Entry",
    "KnownFeeds",
    "batches",
    "enlist",
    "keys_of_entry",
    "known",
    "member_of",
    "read",
    "shard_of",
    "stays_ms",
    "stream_of",
    "written",
]

#: Some are claimed and not renewed before they are lost; and clocks of nodes are not the same.
SLACK = 60.0
#: A session is put into the index again once in so many leases.
LEASES_BETWEEN = 4


def shard_of(session_id: str, shards: int) -> int:
    """The shard of the index that a session belongs to."""
    return crc32(session_id.encode()) % shards


def member_of(due: Due) -> str:
    """A stream on a schedule. No id holds a line break."""
    return due.session_id if due.aside is None else f"{due.session_id}\n{due.aside}"


def stream_of(member: bytes) -> Due:
    session_id, _, aside = member.decode(errors="replace").partition("\n")
    return Due(session_id, aside or None)


class KnownFeeds(NamedTuple):
    """The feeds that a shard knows, and for how many ms each has ends kept.

    As scripts have them: ``<name> <ms>``, in order. Names of supervisors hold their owner's, which
    may be any text, and are quoted.
    """

    text: str = ""

    @classmethod
    def of(cls, feeds: Mapping[str, int]) -> KnownFeeds:
        return cls(" ".join(sorted(f"{written(name)} {kept}" for name, kept in feeds.items())))

    @property
    def kept_ms(self) -> Mapping[str, int]:
        return _kept_ms(self.text)

    def suiting(self, owner: str | None) -> tuple[str, ...]:
        """Those that a session of this owner is claimed under."""
        return tuple(sorted(name for name in self.kept_ms if suits(name, owner)))

    @property
    def unsaved_ms(self) -> int:
        """For how long an end is kept at most that one of them has not done."""
        return _unsaved_ms(self.text)


# Each claim asks for these, and the text is mostly the same.
@lru_cache(maxsize=64)
def _kept_ms(text: str) -> Mapping[str, int]:
    words = text.split()
    return {read(name): int(kept) for name, kept in zip(words[::2], words[1::2], strict=True)}


@lru_cache(maxsize=64)
def _unsaved_ms(text: str) -> int:
    return max(
        (kept for name, kept in _kept_ms(text).items() if not is_supervisor(name)), default=0
    )


def written(feed: str) -> str:
    """A name of a feed as keys and scripts have it."""
    return quote(feed, safe=":") if is_supervisor(feed) else feed


def read(name: str) -> str:
    return unquote(name)


class Entry(NamedTuple):
    """A session that is to be in the index, and on schedules."""

    session_id: str
    owner: str | None
    #: Seconds that its claim holds, and that it is kept after its end at most.
    lease: float
    kept: float
    #: The generation whose claim may set aside, or has set aside, what was there before.
    aside: str = ""


def enlist(
    script: Script,
    keys: IndexKeys,
    feeds: Sequence[str],
    entries: Sequence[Entry],
    *,
    hasten: bool = False,
    if_missing: bool = False,
) -> Call:
    """Put sessions of one owner into the index, and on the schedules of these feeds.

    :param hasten: they are due now, and whoever watches is told.
    :param if_missing: leave what is on a schedule already as it is.
    """
    call = Call(
        script,
        keys_of_entry(keys, entries[0].owner, feeds),
        len(feeds),
        "missing" if if_missing else "set",
        keys.news if hasten else "",
    )
    for entry in entries:
        due = 0 if hasten else ms(entry.lease)
        call.arguments += (entry.session_id, entry.aside, due, stays_ms(entry))
    return call


def keys_of_entry(keys: IndexKeys, owner: str | None, feeds: Sequence[str]) -> list[str]:
    """What scripts need to put a session into the index, and on the schedules of these feeds."""
    owned = [] if owner is None else [keys.of_owner(owner)]
    return [keys.sessions, keys.feeds, *owned, *(keys.due(written(feed)) for feed in feeds)]


def stays_ms(entry: Entry) -> int:
    """How long the index has an entry. It is put on again before that is over as long as its
    session may live."""
    return ms((1 + LEASES_BETWEEN) * entry.lease + SLACK + entry.kept)


class EndState(msgspec.Struct):
    """What has become of one end in one feed, as scripts write it."""

    generation: str
    state: str
    attempts: int
    error: str = ""


def batches(entries: Sequence[Entry], shards: int) -> Iterator[tuple[int, list[Entry]]]:
    """Those of one shard and one owner together, not too many at a time."""
    together: dict[tuple[int, str | None], list[Entry]] = {}
    for entry in entries:
        together.setdefault((shard_of(entry.session_id, shards), entry.owner), []).append(entry)
    for (shard, _), several in together.items():
        for at in range(0, len(several), _AT_ONCE):
            yield shard, several[at : at + _AT_ONCE]


# A call must not hold the server for much longer than a millisecond.
_AT_ONCE = 64


def known(answer: Any) -> KnownFeeds:
    """The feeds that a script has answered."""
    return KnownFeeds(answer.decode())
