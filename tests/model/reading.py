"""The rules of all others: readers, cancels, removals, and what befalls the store."""

from __future__ import annotations

import copy

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamhub import (
    Cursor,
    CursorExpired,
    Hub,
    ProducerFailed,
    ProducerLost,
    Status,
    StreamReplaced,
    Subscription,
)

from .session import Item, Record, text_of
from .stage import HUBS, SESSIONS, Follower, Handle, Stage

__all__ = ["Reading"]

# Most of it on one session, so that the steps meet.
_sessions = st.sampled_from([*3 * SESSIONS[:1], SESSIONS[1]])
_hubs = st.integers(0, HUBS - 1)
_QUIET = (Status.FINISHED, Status.CANCELLED)

#: A chunk as a reader gets it.
_Read = tuple[Cursor, Item]


class Reading(Stage):
    @rule(at=_hubs, session_id=_sessions)
    def look(self, at: int, session_id: str) -> None:
        """get, done, metadata, text, active and sessions agree with the record."""
        instance, record = self.instances[at], self.sessions[session_id].record
        stream = self.run(instance.hub.get(session_id))
        assert (record is None) == (stream is None)
        standing = {
            name: session.record.standing
            for name, session in self.sessions.items()
            if session.record is not None
        }
        active = {name for name, status in standing.items() if status is Status.ACTIVE}
        assert active == self.run(instance.hub.active(SESSIONS))
        assert standing == self.run(_listed(instance.hub))
        if record is None or stream is None:
            return
        self.handles.append(Handle(session_id, instance, stream, record.terms.epoch))
        assert (record.standing is not Status.ACTIVE) == self.run(stream.done())
        assert record.metadata == self.run(stream.metadata())
        if record.whole:
            assert text_of(record.log) == self.run(stream.text())

    @rule(
        data=st.data(),
        at=_hubs,
        session_id=_sessions,
        batch=st.booleans(),
        buffer=st.sampled_from([1, 2, 256]),
    )
    def read(self, data: st.DataObject, at: int, session_id: str, batch: bool, buffer: int) -> None:
        """After any cursor, from the start, from now: all that is stored, then the end if there is
        one."""
        session = self.sessions[session_id]
        stream = self.run(self.instances[at].hub.get(session_id))
        record = session.record
        if record is None or stream is None:
            return
        if data.draw(st.integers(0, 7), label="another epoch") == 7:
            elsewhere = self.opened(stream, after=Cursor(record.terms.current + 1, 1))
            row, error = self.run(_to_the_end(elsewhere))
            assert ([], StreamReplaced) == (row, type(error))
            session.found_lost()
            return
        last = len(record.log)
        offset = data.draw(st.integers(0, last), label="after")
        start: Cursor | str | None = record.terms.cursor(offset)
        if offset in (0, last) and data.draw(st.booleans(), label="by name"):
            start = None if offset == 0 else "now"
        expected = _row(record, offset, last, batch=batch) if record.whole else []
        subscription = self.opened(stream, after=start, batch_replay=batch, buffer=buffer)
        if record.standing is Status.ACTIVE:
            if record.whole:
                assert expected == self.run(_taken(subscription, len(expected)))
                self.run(subscription.aclose())
            return
        row, error = self.run(_to_the_end(subscription))
        assert expected == row
        session.found_lost()
        if not record.whole and offset < last:
            assert isinstance(error, CursorExpired)
            assert record.terms.cursor(offset) == error.cursor
        else:
            _check_end(record, error, subscription)

    @rule(
        at=_hubs,
        session_id=_sessions,
        count=st.integers(1, 4),
        events=st.sampled_from([None, (None,), ("tool",), (None, "tool"), ("x",)]),
    )
    def read_last(
        self, at: int, session_id: str, count: int, events: tuple[str | None, ...] | None
    ) -> None:
        """The last chunks of some types, then the end if there is one: of what there is now."""
        session = self.sessions[session_id]
        stream = self.run(self.instances[at].hub.get(session_id))
        record = session.record
        if record is None or stream is None or not record.whole:
            return
        wanted = [
            offset
            for offset, (_, event) in enumerate(record.log, 1)
            if events is None or event in events
        ]
        first = (wanted[-count:] or [1])[0] if len(wanted) >= count else 1
        row = first
        while row > 1 and {record.log[row - 1][1], record.log[row - 2][1]} == {None}:
            row -= 1
        begins = row if first - row <= count and len(wanted) >= count else first
        whole = _row(record, begins - 1, len(record.log))
        expected = [one for one in whole if one[0].offset in wanted]
        subscription = self.opened(stream, last=count, events=events)
        if record.standing is Status.ACTIVE:
            assert expected == self.run(_taken(subscription, len(expected)))
            self.run(subscription.aclose())
            return
        read, error = self.run(_to_the_end(subscription))
        assert expected == read
        session.found_lost()
        _check_end(record, error, subscription)

    @rule(data=st.data(), session_id=_sessions, buffer=st.sampled_from([1, 256]))
    def subscribe(self, data: st.DataObject, session_id: str, buffer: int) -> None:
        """Read the first chunks, and stay."""
        session = self.sessions[session_id]
        record = session.followable
        stream = self.run(self.reading.get(session_id))
        if record is None or stream is None or not record.log:
            return
        count = data.draw(st.integers(1, len(record.log)), label="count")
        self._open_follower(session_id, record, self.opened(stream, buffer=buffer), count)

    def _open_follower(
        self, session_id: str, record: Record, subscription: Subscription, count: int
    ) -> None:
        assert _row(record, 0, count) == self.run(_taken(subscription, count))
        self.followers.append(
            Follower(
                session_id=session_id,
                subscription=subscription,
                cursor=record.terms.cursor(count),
                generation=record.generation,
                takeovers=len(self.sessions[session_id].takeovers),
            )
        )

    @precondition(lambda self: self.followers)
    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        """Read on to what is stored, and to the end if there is one (G3, G4): across takeovers and
        repairs, under unbroken cursors, unless what was read so far is not what is there now."""
        follower = self.pick(data, self.followers)
        session, here = self.sessions[follower.session_id], follower.cursor
        record = session.followable
        if record is None:
            return
        replaced = not record.terms.hold(here)
        overtaken = any(not one.terms.hold(here) for one in session.takeovers[follower.takeovers :])
        ends = replaced or record.status is not Status.ACTIVE
        count = None if ends else len(record.log) - here.offset
        row, error = self.run(_to_the_end(follower.subscription, count))
        assert [here.offset + n for n in range(1, len(row) + 1)] == [one[0].offset for one in row]
        if isinstance(error, StreamReplaced):
            assert overtaken
            assert set(row) <= session.ever
        else:
            assert not replaced
            assert _row(record, here.offset, len(record.log)) == row
        if ends and not isinstance(error, StreamReplaced):
            _check_end(record, error, follower.subscription)
        if ends or error is not None:
            self.followers.remove(follower)
        follower.cursor = row[-1][0] if row else here
        follower.generation, follower.takeovers = record.generation, len(session.takeovers)

    # Under another name, too, it comes more often.
    follow_more = follow

    @rule(data=st.data(), session_id=_sessions, reason=st.sampled_from([None, "", "enough", "x"]))
    def cancel_or_remove(self, data: st.DataObject, session_id: str, reason: str | None) -> None:
        """By any handle on any hub, of whatever age: only its own stream is cancelled (G9)."""
        if not self.handles or data.draw(st.integers(0, 3), label="remove") == 3:
            expected = self.sessions[session_id].remove()
            assert expected == self.run(self.instances[0].hub.remove(session_id))
        else:
            handle = self.pick(data, self.handles[-4:])
            status = self.sessions[handle.session_id].cancel(handle.epoch, reason)
            assert status == self.run(handle.stream.cancel(reason=reason))

    @rule(session_id=_sessions, what=st.sampled_from(["all", "meta", "chunks", "chunks"]))
    def lose(self, session_id: str, what: str) -> None:
        """All data is lost, or one key of a session (G7)."""
        session = self.sessions[session_id]
        if what == "all":
            self.world.wipe()
            for one in self.sessions.values():
                one.wipe()
        elif self.world.is_redis:
            self.world.lose(session_id, what)
            if what == "meta":
                session.record = None
            elif session.record is not None and session.record.log:
                session.record.whole = False

    @precondition(lambda self: self.world.is_redis and self.past is None)
    @rule()
    def replicate(self) -> None:
        """A replica has got everything up to now."""
        now = {name: (one.record, one.buried) for name, one in self.sessions.items()}
        self.past = (self.world.snapshot(), copy.deepcopy(now))

    @precondition(lambda self: self.past is not None)
    @rule()
    def fail_over(self) -> None:
        """That replica takes over, without what came after; readers come again."""
        assert self.past is not None
        (go_back, past), self.past = self.past, None
        go_back()
        for session_id, state in past.items():
            self.sessions[session_id].go_back(*state)
        for follower in self.followers:
            self.run(follower.subscription.aclose())
        self.followers.clear()


def _row(record: Record, start: int, end: int, *, batch: bool = False) -> list[_Read]:
    """The chunks after ``start`` up to ``end`` as a reader gets them: each, or joined."""
    row: list[_Read] = []
    for offset in range(start + 1, end + 1):
        data, event = record.log[offset - 1]
        if batch and event is None and row and row[-1][1][1] is None:
            data = row.pop()[1][0] + data
        row.append((record.terms.cursor(offset), (data, event)))
    return row


def _check_end(record: Record, error: Exception | None, subscription: Subscription) -> None:
    """It ended as the session did: quietly only if that was finished or cancelled."""
    match record.standing:
        case Status.FAILED:
            assert isinstance(error, ProducerFailed)
            assert record.error == error.error
        case Status.LOST:
            assert isinstance(error, ProducerLost)
            assert record.generation == error.generation
        case status:
            assert error is None
            assert status == subscription.status


async def _taken(subscription: Subscription, count: int) -> list[_Read]:
    return (await _to_the_end(subscription, count))[0]


async def _to_the_end(
    subscription: Subscription, count: int | None = None
) -> tuple[list[_Read], Exception | None]:
    """So many chunks, or all up to the end, and the error that it ends with."""
    row: list[_Read] = []
    try:
        while count is None or len(row) < count:
            chunk = await anext(subscription)
            row.append((chunk.cursor, (chunk.data, chunk.event)))
    except StopAsyncIteration:
        pass
    except (CursorExpired, ProducerFailed, ProducerLost, StreamReplaced) as error:
        return row, error
    return row, None


async def _listed(hub: Hub) -> dict[str, Status]:
    return {info.session_id: info.status async for info in hub.sessions()}
