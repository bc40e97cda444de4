"""The handle on one session that users hold: the producer's, or a reader's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, overload

from . import metadata_json
from .chunks import Chunk, Cursor, SessionInfo, Status
from .engine import Engine
from .errors import (
    HubClosed,
    InvalidChunk,
    InvalidMetadata,
    NotProducer,
    NotSupervised,
    SessionCorrupted,
    SessionNotFound,
    StoreUnavailable,
)
from .ids import message_token
from .instruments import events
from .parts import PART_EVENT, AnyPart, Message, encode, is_part
from .parts.spoken import spoken_text
from .producing.measure import check_message, plain
from .producing.phase import Stopping
from .producing.production import Production
from .producing.receiving import Inbox, Receiver
from .producing.sources import Source, produce
from .reading.only import Only
from .reading.replay import parse_start
from .reading.session_view import SessionView
from .reading.stored import stored
from .reading.subscription import PickedSubscription, Subscription
from .reasons import storable
from .stores.base import Claim, InboxMessage, Release
from .stores.feeds import is_supervisor, suits

__all__ = ["LiveStream", "check_buffer", "written_metadata"]

T = TypeVar("T")

# A supervisor asks what is due once a lease; one that has not for so many is not there any more.
_IDLE_LEASES = 2.0
# For how many seconds the end of a stream may have to be kept for its feeds.
_UNSAVED = 86400.0


class LiveStream:
    """A session, as seen by its producer or by anybody else.

    The one whose claim was granted produces (``generation`` is not None): it publishes, and ends
    the stream with ``close``, ``fail``, or by leaving ``async with stream``. Everybody may
    subscribe, cancel, and ask how it stands.

    A handle is bound to the stream that it was opened on: it never cancels a later one.
    """

    def __init__(
        self,
        engine: Engine,
        session_id: str,
        *,
        owner_generation: str,
        epoch: int | None,
        production: Production | None = None,
    ) -> None:
        self._engine = engine
        self._session_id = session_id
        self._owner_generation = owner_generation
        self._epoch = epoch
        self._production = production
        self._producer = None if production is None else production.producer
        # At hand, for each chunk.
        self._accept: Callable[[str, str | None], Cursor | None] = (
            partial(_refuse, session_id) if self._producer is None else self._producer.accept
        )
        self._receiver: Receiver | None = None

    def __repr__(self) -> str:
        role = "reader" if self._producer is None else f"producer {self.generation}"
        return f"<LiveStream {self._session_id!r} {role}>"

    @property
    def session_id(self) -> str:
        """The name that clients resume."""
        return self._session_id

    @property
    def stream_id(self) -> str:
        """What tells this stream from the others that have the session before or after it; as
        ``SessionInfo.stream_id``."""
        return str(self._owner_generation if self._epoch is None else self._epoch)

    @property
    def generation(self) -> str | None:
        """The fencing token of this producer (a UUIDv7); None on a reader's handle."""
        return None if self._producer is None else self._producer.claim.generation

    @property
    def stopping(self) -> Stopping | None:
        """Why this producer is to come to an end; None while it may go on, and on a reader's
        handle.

        - ``"cancelled"``: somebody has called ``cancel``.
        - ``"handover"``: the hub closes, and leaves the session to others. That is said as soon as
          ``aclose(drain=…)`` begins to wait: a source may go on to its end until the time is over.
          One that would rather stop at a good place raises ``HubClosed``, and its session is
          released at once.
        - ``"fenced"``: nothing that is published is stored any more. Another producer has the
          session, it was removed, ended by somebody else, or could not be written for too long.

        Where a source of ``run``, or the body of ``async with``, is interrupted, the
        ``CancelledError`` has this word as its message. Where the event loop itself shuts down,
        which cancels every task, it has none.
        """
        return None if self._production is None else self._production.stopping

    async def publish(self, chunk: str | AnyPart, *, event: str | None = None) -> Cursor:
        """Accept ``chunk`` as the next of the stream and return its cursor: text, or one of
        :mod:`streamhub.parts`.

        It is stored in the background, in order, together with others; this waits only while
        ``max_pending_bytes`` are waiting already. If it cannot be stored, the next ``publish``,
        ``flush`` or ``close`` raises. ``event`` is the chunk's event type; a part's is ``ui``.

        :raises InvalidChunk: it is not text that UTF-8 can hold, and no part.
        :raises InvalidPart: it is a part that holds what JSON cannot.
        :raises ChunkTooLarge: over ``max_chunk_bytes``; the stream goes on without it.
        :raises StreamTooLarge: over ``max_stream_bytes``; what was published before stays.
        :raises ProducerFenced: another generation has the session.
        :raises StreamClosed: the stream has ended, by ``close`` or by a cancel.
        :raises StoreUnavailable: earlier chunks could not be stored for ``give_up_after``.
        :raises NotProducer: this is a reader's handle.
        :raises HubClosed: the hub is closed.
        """
        try:
            # What is no text is refused there, parts included.
            cursor = self._accept(chunk, event)  # type: ignore[arg-type]
        except HubClosed:
            self._engine.check_place()
            raise
        except InvalidChunk:
            if not is_part(chunk):
                raise
            if event not in (None, PART_EVENT):
                reason = f"a part is published under the event type {PART_EVENT}, not {event!r}"
                raise InvalidChunk(self._session_id, reason) from None
            return await self.publish(encode(chunk), event=PART_EVENT)
        if cursor is None:
            text: str = chunk  # type: ignore[assignment]
            return await self.production("publish").producer.publish(text, event)
        return cursor

    async def flush(self) -> None:
        """Wait until everything published so far is in the store.

        :raises: as ``publish``, where it is not.
        """
        await self.production("flush").producer.flush()

    async def set_metadata(self, value: object) -> None:
        """Replace the session's metadata, and wait until that is stored.

        ``value`` is what JSON can hold; also a dataclass, a msgspec struct or a pydantic model.

        :raises InvalidMetadata: it is not JSON, nested more than 100 levels deep, or over
            ``max_chunk_bytes``.
        :raises: otherwise as ``publish``.
        """
        producer = self.production("set metadata").producer
        limit = self._engine.config.max_chunk_bytes
        await producer.set_metadata(written_metadata(self._session_id, value, limit))

    async def close(self) -> None:
        """Store what is pending and end the stream as ``finished``.

        It ends as ``cancelled`` if a cancel was asked for before. Idempotent.

        :raises: as ``publish``, if the stream could not be ended properly.
        """
        await self.production("close the stream").producer.finish(Status.FINISHED)

    async def fail(self, error: BaseException | str) -> None:
        """Store what is pending and end the stream as ``failed``.

        Subscribers get ``ProducerFailed`` with the error's type and message (a str as it is).
        It ends as ``cancelled`` if a cancel was asked for before. What a hub that closes has
        raised (``HubClosed``, ``CancelledError``) is no failure: the session is left to others.
        Idempotent.

        :raises: as ``publish``, if the stream could not be ended properly.
        """
        await self.production("fail the stream").fail(error)

    async def release(self) -> None:
        """Store what is pending and give the session up, for others to continue at once.

        It stands as ``lost`` until somebody does; if a cancel was asked for, it ends as
        ``cancelled`` instead. Through this handle nothing can be published any more: that raises
        ``HubClosed``. What cannot be stored in time is left out. Idempotent.

        :raises NotProducer: this is a reader's handle.
        """
        await self.production("release the session").release()

    async def __aenter__(self) -> LiveStream:
        """Produce in this block: leaving it ends the stream, ``finished`` or (on an exception,
        which passes on) ``failed``.

        A cancel interrupts the block like ``asyncio.timeout`` would, and the block ends quietly;
        with ``on_cancel`` given, it is left to that how the block ends. If it has not after a
        third of the lease, or 3 seconds, it is interrupted all the same.
        """
        self.production("enter the stream").enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        assert self._production is not None
        return await self._production.exit(error)

    def spawn_body(self, source: Source[LiveStream]) -> None:
        """Publish all of ``source`` in a task that the hub owns. For ``Hub.run``."""
        production = self.production("run a source")
        self._engine.run_source(produce(source, self), production)

    def production(self, action: str) -> Production:
        """What this handle writes with. For modules of ours.

        :raises NotProducer: this is a reader's handle, which cannot do ``action``.
        """
        if self._production is None:
            raise NotProducer(self._session_id, action)
        self._engine.check_place()
        return self._production

    def subscribe(
        self,
        *,
        after: Cursor | str | None = None,
        last: int | None = None,
        events: Collection[str | None] | None = None,
        batch_replay: bool = False,
        buffer: int = 256,
    ) -> Subscription:
        """Read the session: replay what is stored after ``after``, then follow live.

        :param after: a cursor (``Cursor`` or its text), None for the start, ``"now"`` for what
            comes from now on.
        :param last: begin with the last so many stored chunks instead, or with a few more: where a
            part begins. A delta is preceded by the start of its part, however far back that is; a
            row of plain chunks by its first one, unless that is over ``last`` chunks further back.
        :param events: only chunks of these event types; None among them stands for plain text, and
            ``"ui:text-delta"`` or ``"ui:tool-*"`` for the parts of such kinds. ``cursor`` goes on
            with the others, too, and ``last`` does not count them. Ends and errors always come.
        :param batch_replay: join what is already stored into one chunk, or where it is more than
            ``max_pending_bytes``, into several of about that size; chunks with an event type stay
            single, in their place.
        :param buffer: how many live chunks may wait for this subscriber before it goes back to
            reading the store.
        :raises InvalidCursor: ``after`` is malformed. What iteration raises: see
            :class:`Subscription`.
        :raises ValueError: ``buffer`` or ``last`` is not positive, both ``after`` and ``last`` are
            given, or ``events`` is empty.
        :raises TypeError: ``events`` is no collection of event types and None.
        :raises HubClosed: the hub is closed.
        """
        check_buffer(buffer)
        only = None if events is None else Only.of(events)
        start = parse_start(after, last, only)
        self._engine.check()
        if only is not None:
            return PickedSubscription(
                self._engine.watcher,
                self._session_id,
                only,
                after=start,
                batch_replay=batch_replay,
                buffer=buffer,
            )
        return Subscription(
            self._engine.watcher,
            self._session_id,
            after=start,
            batch_replay=batch_replay,
            buffer=buffer,
        )

    async def cancel(self, *, wait: float | None = None, reason: str | None = None) -> Status:
        """Ask the producer to stop, wherever it runs.

        Durable and idempotent. A stream that has ended keeps its end; a lost one is ended as
        ``cancelled`` on the spot. If the stream of this handle is not there any more (replaced,
        removed, expired), nothing changes and the answer is ``LOST``. If it is replaced during
        the wait, the answer is ``CANCELLED``: nothing else can have become of it.

        :param wait: wait up to so many seconds for the end; without, return at once. Where a store
            has lost the stream, that is waited for, too, up to a lease: its producer may put it
            back.
        :param reason: kept as ``info().error`` of a stream that ends as cancelled.
        :return: the status reached: ``ACTIVE`` while the producer has not stopped yet.
        """
        self._engine.check()
        reason = None if reason is None else storable(reason)
        if wait is None:
            return await self._ask_cancel(reason) or Status.LOST
        view = self._engine.watcher.attach(self._session_id)
        until = asyncio.get_running_loop().time() + wait
        try:
            while (status := await self._ask_cancel(reason)) is None:
                if not await self._is_put_back(view, until):
                    return Status.LOST
            if status is not Status.ACTIVE:
                return status
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    return await self._wait_cancelled(view)
            info = await self._info_if_any()
            if info is None:
                # A cancel that the store has lost is to be asked for again.
                return Status.LOST if view.standing.is_missing(patient=True) else Status.ACTIVE
            return info.status if self._is_mine(info) else Status.CANCELLED
        finally:
            self._engine.watcher.detach(view)

    async def hand_over(self) -> Status:
        """Take the session from its producer, wherever that runs, for a supervisor to go on with.

        For one that hangs: nothing is asked of it. Its lease lapses now, so that a supervisor
        claims the session within moments; from then on the producer is fenced, and what it has not
        stored by then is left out. Who reads the session reads on. A stream that has ended keeps
        its end, and one whose cancel was asked for is left to that.

        :return: the status reached: ``LOST`` until a supervisor has claimed the session.
        :raises NotSupervised: no supervisor looks after it now, or none did when it was claimed,
            for which its readers would have waited; or the Go library writes it.
        :raises SessionNotFound: this stream is not there any more.
        """
        self._engine.check()
        store, config = self._engine.store, self._engine.config
        info = await self._info_if_any()
        if info is None or not self._is_mine(info):
            raise SessionNotFound(self._session_id)
        if info.terms is None:
            raise NotSupervised(self._session_id, "the Go library writes it")
        if info.status is not Status.ACTIVE or info.cancelling:
            return info.status
        if not any(map(is_supervisor, info.feeds)):
            raise NotSupervised(self._session_id, "no supervisor was there when it was claimed")
        known = [] if store.feeds is None else await store.feeds.known()
        if not any(
            is_supervisor(feed.name)
            and suits(feed.name, info.owner)
            and feed.idle < _IDLE_LEASES * config.lease
            for feed in known
        ):
            raise NotSupervised(self._session_id, "no supervisor looks after it any more")
        claim = Claim(
            self._session_id,
            info.generation,
            info.terms,
            info.replaced,
            config.lease,
            config.retention,
            info.owner,
            info.request,
            feeds=info.feeds,
            # Of what its producer has asked for: for long enough, if nobody claims it after all.
            unsaved=0.0 if all(map(is_supervisor, info.feeds)) else _UNSAVED,
        )
        (answer,) = await store.write([Release(claim, 0)])
        if isinstance(answer, Exception):
            raise answer
        after = await self._info_if_any()
        return Status.LOST if after is None or not self._is_mine(after) else after.status

    async def send(self, data: str, event: str | None = None, *, key: str | None = None) -> str:
        """Send a message to the producer of this stream, wherever it runs.

        It is stored when this returns, after all that were sent before, and stays until the
        producer, or one that continues, has handled it. A lost session takes messages, too: they
        wait for whoever continues it. A restart begins with none.

        :param event: what kind of message it is, for the producer to tell.
        :param key: a name for this message. Sending it again, with the same name, sends nothing
            and is answered the same, which makes ``send`` safe to repeat after an error. It is
            known for at least the next 256 messages of the stream.
        :return: the message's id.
        :raises InvalidMessage: it is not text that UTF-8 can hold, or the event type or key is not.
        :raises MessageTooLarge: over ``max_chunk_bytes``, or ``max_inbox_bytes`` if that is less.
        :raises InboxFull: as many messages wait as may (``max_inbox_messages``,
            ``max_inbox_bytes``).
        :raises StreamClosed: the stream has ended; with its status.
        :raises StreamReplaced: a new one has begun in its session.
        :raises SessionNotFound: there is no such session (any more).
        :raises NoInbox: the Go library writes the session, or the store keeps no inboxes.
        :raises StoreUnavailable: the store cannot be reached. It may have been sent.
        """
        self._engine.check()
        config = self._engine.config
        check_message(
            self._session_id,
            data,
            event,
            key,
            limit=min(config.max_chunk_bytes, config.max_inbox_bytes),
        )
        message = InboxMessage(
            message_token(key), plain(data), None if event is None else plain(event)
        )
        message_id = await self._engine.store.send(
            self._session_id,
            message.data,
            message.event,
            epoch=self._epoch,
            token=message.id,
            max_messages=config.max_inbox_messages,
            max_bytes=config.max_inbox_bytes,
        )
        if self._engine.tell is not None:
            self._engine.tell(
                events.MessageSent(
                    session_id=self._session_id, message_id=message_id, bytes=message.size
                )
            )
        return message_id

    def inbox(self) -> Inbox:
        """The messages that are sent to this stream: those that wait, then those that come.

        See :class:`Inbox` for how it ends, and :meth:`Message.done` for when a message is handled.
        Those that are not come again, in order, to the producer that continues.

        :raises NotProducer: this is a reader's handle.
        :raises NoInbox: the store keeps no inboxes. Raised by iteration.

        ::

            async for message in stream.inbox():
                message.done()
                await stream.publish(await answer(message.data))
        """
        producer = self.production("read the inbox").producer
        if self._receiver is None:
            self._receiver = Receiver(
                producer, self._engine.store, self._engine.config.give_up_after
            )
        return Inbox(self._receiver)

    async def wait(self, timeout: float | None = None) -> Status:
        """Wait until the stream has ended or is lost, or for ``timeout`` seconds.

        :return: the status reached then.
        :raises SessionNotFound: there is no such session (any more): its producer has not put it
            back for a lease, or not when the time is over.
        """
        self._engine.check()
        view = self._engine.watcher.attach(self._session_id)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while (info := await view.wait_info(patient=True)).status is Status.ACTIVE:
                        await view.wait_news()
                    return info.status
            return (await self._info()).status
        finally:
            self._engine.watcher.detach(view)

    async def wait_replaced(self, stream_id: str | None = None) -> None:
        """Wait until the session holds another stream than the one that ``SessionInfo.stream_id``
        names: the next answer of a chat, for one. By default, than the one of this handle.

        :raises SessionNotFound: there is no such session (any more).
        """
        self._engine.check()
        view = self._engine.watcher.attach(self._session_id)
        try:
            while True:
                info = await view.wait_info()
                if stream_id is None and not self._is_mine(info):
                    return
                if stream_id not in (None, info.stream_id):
                    return
                await view.wait_news()
        finally:
            self._engine.watcher.detach(view)

    async def done(self) -> bool:
        """Whether the stream has ended or is lost.

        :raises SessionNotFound: there is no such session (any more).
        """
        return (await self._info()).status is not Status.ACTIVE

    async def info(self) -> SessionInfo:
        """How the session stands, with its metadata.

        :raises SessionNotFound: there is no such session (any more).
        """
        return await self._info(metadata=True)

    @overload
    async def metadata(self) -> Any: ...
    @overload
    async def metadata(self, type: type[T]) -> T | None: ...
    async def metadata(self, type: Any = None) -> Any:  # noqa: A002 - the name in the contract
        """The session's metadata; None if none was set.

        :param type: what to load it as: a dataclass, a TypedDict, a msgspec struct, a pydantic
            model, or a builtin or generic of these.
        :raises InvalidMetadata: it does not fit ``type``.
        :raises SessionNotFound: there is no such session (any more).
        """
        value = (await self._info(metadata=True)).metadata
        if type is None or value is None:
            return value
        try:
            return metadata_json.load(value, type)
        except ValueError as error:
            raise InvalidMetadata(self._session_id, str(error)) from error

    async def text(self) -> str:
        """What is stored now, joined: chunks without an event type, and deltas of text among the
        parts; without what a step has said that was reset.

        :raises SessionNotFound: there is no such session (any more).
        :raises CursorExpired: a part of it is not in the store any more.
        """
        _, chunks = await self._stored()
        return spoken_text(chunks)

    async def message(self) -> Message:
        """The message that is stored now: equal to what a page shows that has read so far.

        Nothing in it is being written (``"state": "streaming"``) once the stream has ended, or has
        lost its producer.

        :raises SessionNotFound: there is no such session (any more).
        :raises CursorExpired: a part of it is not in the store any more.
        """
        from .parts.folding import message_of

        info, chunks = await self._stored()
        return message_of(info, chunks)

    async def _stored(self) -> tuple[SessionInfo, list[Chunk]]:
        lease = self._engine.config.lease
        return await stored(self._engine.store, self._session_id, self._info, lease=lease)

    async def _info(self, *, metadata: bool = False) -> SessionInfo:
        info = await self._info_if_any(metadata=metadata)
        if info is None:
            raise SessionNotFound(self._session_id)
        return info

    async def _info_if_any(self, *, metadata: bool = False) -> SessionInfo | None:
        self._engine.check()
        (info,) = await self._engine.store.look([self._session_id], metadata=metadata)
        if isinstance(info, SessionCorrupted | StoreUnavailable):
            raise info
        return info

    async def _ask_cancel(self, reason: str | None) -> Status | None:
        engine = self._engine
        status = await engine.store.cancel(
            self._session_id,
            generation=self._owner_generation,
            epoch=self._epoch,
            reason=reason,
        )
        if engine.tell is not None:
            engine.tell(events.CancelRequested(session_id=self._session_id, status=status))
        return status

    async def _is_put_back(self, view: SessionView, until: float) -> bool:
        """Whether this stream, which the store did not have, is there again by then."""
        with suppress(TimeoutError, SessionNotFound):
            async with asyncio.timeout_at(until):
                await view.wait_look()
                return self._is_mine(await view.wait_info(patient=True))
        return False

    async def _wait_cancelled(self, view: SessionView) -> Status:
        """The end of a stream whose cancel is asked for."""
        try:
            while True:
                info = await view.wait_info(patient=True)
                if not self._is_mine(info):
                    return Status.CANCELLED
                if info.status is not Status.ACTIVE:
                    return info.status
                await view.wait_news()
        except SessionNotFound:
            return Status.LOST

    def _is_mine(self, info: SessionInfo) -> bool:
        """Whether this is the stream that the handle was opened on, by whomever it is produced."""
        if info.is_foreign:
            return info.generation == self._owner_generation
        return info.epoch == self._epoch


def _refuse(session_id: str, chunk: str, event: str | None) -> Cursor | None:
    raise NotProducer(session_id, "publish")


def check_buffer(buffer: int) -> None:
    """:raises ValueError: it is no number of chunks."""
    if isinstance(buffer, bool) or not isinstance(buffer, int) or buffer < 1:
        raise ValueError(f"buffer must be a number of chunks of at least 1, not {buffer!r}")


def written_metadata(session_id: str, value: object, limit: int) -> str:
    """Metadata as it is stored.

    :raises InvalidMetadata: it is not JSON, over ``limit`` bytes, or nested too deeply.
    """
    try:
        return metadata_json.encode(value, limit)
    except ValueError as error:
        raise InvalidMetadata(session_id, str(error)) from error
