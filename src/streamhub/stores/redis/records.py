"""Reads the records of sessions: how they stand, by the clocks of the servers that have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from ...chunks import Cursor, SessionInfo, Status
from ...errors import SessionCorrupted, StoreReadOnly, StoreUnavailable, StreamHubError
from .foreign import is_foreign, newest_of, newest_request, read_foreign_record
from .layout.keys import Keys
from .layout.record import FIELDS, holds_too_long, ms, read_record, time_ms
from .layout.scripts import Call, Command, Script
from .topology.topology import Commands, Topology

__all__ = ["Records"]


class Records:
    """Reads what ``Store.look`` answers, and writes who follows.

    :param writes: carries what a look mends.
    :param keys: of a session.
    :param error: what an error of redis-py is to a user.
    """

    def __init__(
        self,
        topology: Topology,
        reads: Commands,
        writes: Commands,
        scripts: Mapping[str, Script],
        keys: Callable[[str], Keys],
        error: Callable[[Exception, str | None], StreamHubError],
    ) -> None:
        self._topology = topology
        self._reads = reads
        self._writes = writes
        self._scripts = scripts
        self._keys = keys
        self._error = error

    async def look(
        self, session_ids: Sequence[str], *, metadata: bool, recently: float
    ) -> Sequence[SessionInfo | SessionCorrupted | StoreUnavailable | None]:
        """:param recently: for how many seconds it is believed where the name leads."""
        while True:
            moves = self._topology.moves
            found, on_replica = await self._look(session_ids, metadata=metadata)
            if not any(map(_is_verdict, found)):
                return found
            # It must not be the verdict of a server that the name meant before.
            await self._topology.confirm(recently)
            if self._topology.moves == moves:
                break
        if on_replica:
            behind = StoreReadOnly(self._topology.name, "is a replica, which may be behind")
            return [behind if _is_verdict(one) else one for one in found]
        return found

    async def _look(
        self, session_ids: Sequence[str], *, metadata: bool
    ) -> tuple[list[SessionInfo | SessionCorrupted | StoreUnavailable | None], bool]:
        """How the sessions stand, and whether a replica says so."""
        fields = (*FIELDS, "metadata") if metadata else FIELDS
        wanted: list[Command] = [(b"HMGET", self._keys(one).meta, *fields) for one in session_ids]
        if self._topology.single:
            time, hello, *records = await self._reads.ask([(b"TIME",), (b"HELLO",), *wanted])
            if isinstance(time, Exception):
                raise self._error(time, None)
            times, on_replica = [time] * len(wanted), _is_replica(hello)
        else:
            # Each node has a clock of its own, by which its leases lapse.
            answers = await self._reads.ask([each for one in wanted for each in ((b"TIME",), one)])
            times, records, on_replica = answers[::2], answers[1::2], False
        foreign = [
            one
            for one, record in zip(session_ids, records, strict=True)
            if not isinstance(record, Exception) and is_foreign(record)
        ]
        newest = await self._newest(foreign)
        await self._cut_leases(
            [
                one
                for one, record, time in zip(session_ids, records, times, strict=True)
                if not isinstance(record, Exception) and holds_too_long(record, time_ms(time))
            ]
        )
        found = [
            self._unreadable(one, record)
            if isinstance(record, Exception)
            else read_foreign_record(one, record, newest[one])
            if one in newest
            else read_record(one, record, time_ms(time))
            for one, record, time in zip(session_ids, records, times, strict=True)
        ]
        if isinstance(found[0], StoreUnavailable) and all(
            isinstance(one, StoreUnavailable) for one in found
        ):
            raise found[0]
        return found, on_replica

    async def _cut_leases(self, session_ids: Sequence[str]) -> None:
        """Have leases lapse that a clock has moved away, where this user may write."""
        calls = [Call(self._scripts["cut_lease"], (self._keys(one).meta,)) for one in session_ids]
        if calls:
            with suppress(StreamHubError):
                await self._writes.ask(calls)

    async def announce(self, followers: Mapping[str, int], *, hub: str, lasts: float) -> None:
        script = self._scripts["announce"]
        await self._writes.ask(
            [
                Call(script, (self._keys(one).meta,), hub, count, ms(lasts))
                for one, count in followers.items()
            ]
        )

    async def metadata_sizes(self, session_ids: Sequence[str]) -> list[int]:
        requests = [(b"HSTRLEN", self._keys(one).meta, b"metadata") for one in session_ids]
        answers = await self._reads.ask(requests) if requests else []
        # What is wrong with a session is said when it is looked at.
        return [answer if type(answer) is int else 0 for answer in answers]

    async def memory(self, session_ids: Sequence[str]) -> list[int | None]:
        """What the keys of each take; None where there are none, or the user may not ask."""
        keys = [self._keys(one) for one in session_ids]
        requests = [(b"MEMORY", b"USAGE", key) for one in keys for key in (one.meta, one.chunks)]
        answers = await self._reads.ask(requests) if requests else []
        taken = zip(answers[::2], answers[1::2], strict=True)
        return [
            meta + (chunks if type(chunks) is int else 0) if type(meta) is int else None
            for meta, chunks in taken
        ]

    def _unreadable(self, session_id: str, error: Exception) -> SessionCorrupted | StoreUnavailable:
        mapped = self._error(error, session_id)
        if isinstance(mapped, SessionCorrupted | StoreUnavailable):
            return mapped
        raise mapped

    async def _newest(self, session_ids: Sequence[str]) -> dict[str, Cursor]:
        """The newest chunks of sessions of the Go library."""
        if not session_ids:
            return {}
        requests = [newest_request(self._keys(one)) for one in session_ids]
        answers = await self._reads.ask(requests)
        return dict(zip(session_ids, map(newest_of, answers), strict=True))


def _is_verdict(found: object) -> bool:
    """Whether it says that a session is gone, or its producer, which may be news to the store."""
    if not isinstance(found, SessionInfo):
        return found is None
    return found.status is Status.LOST and found.lease is not None


def _is_replica(hello: object) -> bool:
    """What the server says of its role; one that does not say is believed to be a primary."""
    if not isinstance(hello, list):
        return False
    return dict(zip(hello[::2], hello[1::2], strict=False)).get(b"role") == b"replica"
