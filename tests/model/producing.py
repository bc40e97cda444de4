"""The rules of those who write: claims, chunks, ends, and what befalls their processes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamhub import ProducerFenced, Status, StreamClosed

from .session import Item, Verdict
from .stage import HUBS, SESSIONS, Handle, Instance, Production, Stage

__all__ = ["Producing", "items_to_publish"]

# Most of it on one session, so that the steps meet.
_sessions = st.sampled_from([*3 * SESSIONS[:1], SESSIONS[1]])
# A few characters stand for all: a table of all is minutes of work for each process that draws.
_texts = st.text(st.sampled_from('ab \n\0{}"\\é€🙂'), max_size=6)
items_to_publish = st.lists(
    st.tuples(_texts, st.sampled_from([None, None, "tool"])), min_size=1, max_size=4
)
_metadatas = st.one_of(_texts, st.integers(-9, 9), st.dictionaries(_texts, st.booleans()))


class Producing(Stage):
    @rule(
        data=st.data(),
        session_id=_sessions,
        takeover=st.sampled_from(["restart", "continue", "continue"]),
        owner=st.sampled_from([None, "alice", "bob"]),
        metadata=st.none() | _metadatas,
        lapsed=st.booleans(),
    )
    def register(
        self,
        data: st.DataObject,
        session_id: str,
        takeover: str,
        owner: str | None,
        metadata: Any,
        lapsed: bool,
    ) -> None:
        """Now, or when nobody has renewed for a lease."""
        if lapsed:
            self.lapse()
        # Who still takes himself for its producer does not claim the session again.
        idle = [
            one
            for one in self.instances
            if one.gate.is_open and session_id not in {own.session_id for own in self.living(one)}
        ]
        if idle:
            instance = self.pick(data, idle)
            self._claim(instance, session_id, takeover, owner=owner, metadata=metadata)

    def _claim(
        self,
        instance: Instance,
        session_id: str,
        takeover: Any,
        *,
        owner: str | None = None,
        metadata: Any = None,
    ) -> None:
        session = self.sessions[session_id]
        granted = session.grants(takeover)
        stream, created = self.run(
            instance.hub.register(session_id, takeover=takeover, owner=owner, metadata=metadata)
        )
        assert granted == created
        if created:
            assert stream.generation is not None
            terms = self.run(stream.info()).terms
            assert terms is not None
            model = session.grant(takeover, owner, metadata, stream.generation, terms)
            self.productions.append(Production(session_id, instance, stream, model))
        else:
            session.refuse(takeover)
        assert session.record is not None
        self.handles.append(Handle(session_id, instance, stream, session.record.terms.epoch))

    @precondition(lambda self: self.productions)
    @rule(
        data=st.data(), items=items_to_publish, loses_answer=st.sampled_from([False] * 7 + [True])
    )
    def publish(self, data: st.DataObject, items: list[Item], loses_answer: bool) -> None:
        """By any producer, stale ones too; flushed, unless its process stands still."""
        production = self.pick(data, self.candidates())
        gate = production.instance.gate
        if gate.is_open:
            gate.loses_next_answer = loses_answer
            self._write(production, items)
            gate.loses_next_answer = False
        else:
            with suppress(ProducerFenced, StreamClosed):
                self.run(self._publish(production, items))

    # Under other names, too, they come more often than what ends a stream.
    publish_more = publish_still_more = publish
    register_more = register

    def _write(self, production: Production, items: list[Item]) -> None:
        session, model = self.sessions[production.session_id], production.model
        seen = self.attempt(self._publish(production, items, flush=True))
        verdict = session.store(model)
        if self._is_cancelling(production):
            # It hears of that with the answer, and stops.
            assert seen in (Verdict.STORED, Verdict.CLOSED)
            session.end(model, Status.CANCELLED)
        else:
            assert verdict is seen
            self.check(production.session_id)

    @precondition(lambda self: self.productions)
    @rule(data=st.data(), metadata=_metadatas)
    def set_metadata(self, data: st.DataObject, metadata: Any) -> None:
        production = self.pick(data, self.candidates())
        session, model = self.sessions[production.session_id], production.model
        if not production.instance.gate.is_open:
            return
        seen = self.attempt(production.stream.set_metadata(metadata))
        model.metadata = metadata
        assert session.reach(model) is seen
        if seen is Verdict.STORED and session.record is not None:
            session.record.metadata = metadata
            self._stop_if_cancelled(production)

    @precondition(lambda self: self.productions)
    @rule(data=st.data(), error=st.sampled_from([None, "broken", "🙂"]))
    def close_or_fail(self, data: st.DataObject, error: str | None) -> None:
        production = self.pick(data, self.candidates())
        if not production.instance.gate.is_open:
            return
        stream, session = production.stream, self.sessions[production.session_id]
        seen = self.attempt(stream.close() if error is None else stream.fail(error))
        status = Status.FINISHED if error is None else Status.FAILED
        fenced = session.end(production.model, status, error) is Verdict.FENCED
        # Ending what has ended is quiet.
        assert (Verdict.FENCED if fenced else Verdict.STORED) is seen
        self.check(production.session_id)

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        """A hub's producers learn what has become of their sessions, and mend them."""
        busy = [one for one in self.instances if one.gate.is_open and self.living(one)]
        if not busy:
            return
        instance = self.pick(data, busy)
        living = self.living(instance)
        self.run(_renewed(instance))
        for production in living:
            if self.sessions[production.session_id].store(production.model) is Verdict.STORED:
                self._stop_if_cancelled(production)

    @rule(at=st.integers(0, HUBS - 1), what=st.sampled_from(["stall", "stall", "crash", "leave"]))
    def process(self, at: int, what: str) -> None:
        instance = self.instances[at]
        if what == "stall":
            instance.gate.shut()
        elif what == "crash":
            # It is gone, and leaves its sessions to their leases.
            instance.gate.cut()
            self.replace(at)
        elif instance.gate.is_open:
            self._shut_down(at)

    def _shut_down(self, at: int) -> None:
        """The hub is closed: all is stored, and others need not wait for a lease to continue."""
        mended = []
        for production in self.living(self.instances[at]):
            session = self.sessions[production.session_id]
            if not session.holds(production.model):
                mended.append(production.session_id)
            verdict = session.store(production.model)
            if self._is_cancelling(production):
                # It hears of that with the answer to its release at the latest: nobody goes on.
                session.end(production.model, Status.CANCELLED)
            elif verdict is Verdict.STORED and session.record is not None:
                session.record.lapsed = True
        self.replace(at)
        for session_id in mended:
            self.come_upon(session_id)
        for session_id in SESSIONS:
            self.check(session_id)

    @precondition(lambda self: not all(one.gate.is_open for one in self.instances))
    @rule()
    def go_on(self) -> None:
        """What was published by those who stood still arrives, however late that is."""
        for instance in self.instances:
            if instance.gate.is_open:
                continue
            instance.gate.open()
            for production in self.living(instance):
                session = self.sessions[production.session_id]
                pending, production.pending = production.pending, False
                if pending and session.store(production.model) is Verdict.STORED:
                    self._stop_if_cancelled(production)
            self.the_store_holds_what_the_model_says()

    async def _publish(
        self, production: Production, items: list[Item], *, flush: bool = False
    ) -> None:
        model = production.model
        for text, event in items:
            cursor = await production.stream.publish(text, event=event)
            model.items.append((text, event))
            production.pending = not flush
            assert model.terms.cursor(len(model.items)) == cursor
        if flush:
            await production.stream.flush()

    def _is_cancelling(self, production: Production) -> bool:
        record = self.sessions[production.session_id].record
        return (
            record is not None
            and record.generation == production.model.generation
            and record.cancelling
            and production.model.over is None
        )

    def _stop_if_cancelled(self, production: Production) -> None:
        """A producer whose write or renewal was answered has heard of a cancel, and stops."""
        if self._is_cancelling(production):
            self.sessions[production.session_id].end(production.model, Status.CANCELLED)


async def _renewed(instance: Instance) -> None:
    before = instance.gate.renewals
    instance.gate.knock()
    while instance.gate.renewals == before:  # noqa: ASYNC110 - the step is bounded as a whole
        await asyncio.sleep(0)
