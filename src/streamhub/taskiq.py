"""Tasks of taskiq that stream: ``pip install "streamhub-llm[taskiq]"``."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, get_args

try:
    from taskiq import AsyncBroker, TaskiqEvents, TaskiqMessage, TaskiqMiddleware, TaskiqResult
    from taskiq.exceptions import NoResultError
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "taskiq":
        raise
    raise ModuleNotFoundError(
        'streamhub.taskiq needs taskiq: pip install "streamhub-llm[taskiq]"', name="taskiq"
    ) from None

from .chunks import SessionInfo, Status
from .deliveries import Delivery, FromArguments, Told, begin, facts, fail
from .errors import ProducerFenced, SessionNotFound, StreamClosed
from .hub import Hub
from .producing import sources
from .producing.ending import OnEnd
from .stores.base import Takeover
from .stream import LiveStream

__all__ = ["current_stream", "task"]

logger: logging.Logger = logging.getLogger("streamhub")

# How long the end of a worker waits for its tasks to leave their sessions to others: less than
# taskiq gives all of it.
_LEAVING = 3.0


def task(
    broker: AsyncBroker,
    *,
    hub: Hub | str,
    session: Told,
    owner: Told | None = None,
    metadata: Callable[..., Any] | None = None,
    takeover: Takeover = "continue",
    on_end: OnEnd | None = None,
    task_name: str | None = None,
    **labels: Any,
) -> Callable[[Callable[..., Any]], Any]:
    """A decorator like ``broker.task``, for a function that yields the text and the parts of an
    answer, async or not, or returns an iterable of them::

        @streamhub.taskiq.task(broker, hub=URL, session="chat:{chat}")
        async def answer(chat, prompt):
            async for token in model.stream(prompt):
                yield token

    The task claims its session before the function is called, and ends it as the function ends:
    finished, failed, or (by ``stream.cancel()`` from anywhere) cancelled. Its result is a dict of
    ``session_id``, ``status``, ``cursor`` and ``error``. Called directly, ``await answer(…)`` is
    what the function returns.

    A task that is retried, or delivered again after a crash, goes on with the session; one that is
    delivered twice produces once. One that fails before it has claimed, be it in its dependencies,
    leaves a session that has failed. What still runs when its worker shuts down, after taskiq's
    ``--wait-tasks-timeout``, is stopped, its session released, and the task sent again.

    :param hub: a URL, or a hub that this process uses in the event loop of the broker only. It
        is closed when the worker shuts down.
    :param session: whose session it is: the name of an argument, a template with names of
        arguments in braces, or a function of the arguments.
    :param owner: the same, for the session's owner.
    :param metadata: a function of the arguments, for the session's metadata.
    :param takeover: what a retry does with what was said before: ``"continue"`` goes on after it
        (it is ``current_stream().text()``), ``"restart"`` drops it. What another task has ended
        is always dropped.
    :param on_end: as for :meth:`streamhub.Hub.register`.
    :param task_name: and all labels are those of ``broker.task``.
    :raises TypeError: ``hub``, ``session`` or ``owner`` is none.
    :raises ValueError: ``takeover`` is none.
    """
    if isinstance(hub, str):
        hub = Hub.from_url(hub)
    if not isinstance(hub, Hub):
        raise TypeError(f"hub must be a URL or a streamhub.Hub, not {type(hub).__name__}")
    if takeover not in get_args(Takeover):
        raise ValueError(f"takeover must be 'restart' or 'continue', not {takeover!r}")
    if metadata is not None and not callable(metadata):
        raise TypeError(
            f"metadata must be a function of the arguments, not {type(metadata).__name__}"
        )

    def decorate(function: Callable[..., Any]) -> Any:
        def told(value: Told | None, option: str) -> FromArguments | None:
            return None if value is None else FromArguments(function, value, option=option)

        session_of = told(session, "session")
        assert session_of is not None
        run = _as_task(function)
        _streaming[run] = _Streaming(
            hub, session_of, told(owner, "owner"), told(metadata, "metadata"), takeover, on_end
        )
        _middleware(broker).hubs.add(hub)
        return broker.task(task_name, **labels)(run)

    return decorate


def current_stream() -> LiveStream:
    """The stream that the running task produces, for what it does not yield. After a takeover its
    ``text()`` is what was said so far.

    :raises RuntimeError: no task that streams is running here.
    """
    run = _run.get()
    if run is None or run.stream is None:
        raise RuntimeError("no task that streams is running here")
    return run.stream


class _Streaming:
    """How a task streams: the options of ``task``, checked."""

    def __init__(
        self,
        hub: Hub,
        session: FromArguments,
        owner: FromArguments | None,
        metadata: FromArguments | None,
        takeover: Takeover,
        on_end: OnEnd | None,
    ) -> None:
        self.hub = hub
        self._session = session
        self._owner = owner
        self._metadata = metadata
        self._takeover = takeover
        self._on_end = on_end

    def delivery(self, message: TaskiqMessage, *, failed: bool = False) -> Delivery:
        """What the session of a task with these arguments is claimed with; of one that has
        ``failed``, as much of it as can be told."""

        def of(told: FromArguments | None) -> Any:
            return None if told is None else told.of(message.args, message.kwargs)

        owner = metadata = None
        if not failed:
            owner, metadata = of(self._owner), of(self._metadata)
        else:
            with suppress(Exception):
                owner = of(self._owner)
        return Delivery(
            str(of(self._session)),
            message.task_id,
            self._takeover,
            owner=None if owner is None else str(owner),
            metadata=metadata,
            on_end=self._on_end,
        )


class _Run:
    """One delivery of a task, from before its function is called until its result is known."""

    def __init__(self, message: TaskiqMessage, outer: _Run | None) -> None:
        self.message = message
        #: The run in whose place this one is awaited, if it is.
        self.outer = outer
        self.stream: LiveStream | None = None
        #: Whether the worker shuts down, and another one is to go on.
        self.leaves = False
        self._feeding: asyncio.Task[None] | None = None

    async def on_cancel(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel("cancelled")

    def leave(self) -> None:
        self.leaves = True
        if self._feeding is not None:
            self._feeding.cancel("handover")

    async def produce(self, stream: LiveStream, call: Callable[[], Any]) -> bool:
        """Publish all that comes of the function; False if that was stopped before its end, since
        nobody wants it from here."""
        self.stream = stream
        self._feeding = asyncio.create_task(_feed(stream, call))
        if stream.stopping == "cancelled" or self.leaves:
            self._feeding.cancel()
        try:
            await self._feeding
        except asyncio.CancelledError:
            if self._feeding.cancelled() and (self.leaves or stream.stopping is not None):
                return False
            # By the task's timeout.
            self._feeding.cancel()
            await asyncio.wait({self._feeding})
            raise
        except StreamClosed as closed:
            if closed.status is not Status.CANCELLED:
                raise
            return False
        except ProducerFenced as fenced:
            logger.warning("%s", fenced)
            return False
        return True


_run: ContextVar[_Run | None] = ContextVar("streamhub.taskiq", default=None)
_streaming: dict[Callable[..., Any], _Streaming] = {}


def _as_task(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """The function as taskiq runs it."""

    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        delivered = _run.get()
        call = functools.partial(function, *args, **kwargs)
        if delivered is None:
            return call()
        streaming = _streaming[run]
        delivery = streaming.delivery(delivered.message)
        begun = await begin(streaming.hub, delivery, delivered.on_cancel)
        if isinstance(begun, SessionInfo):
            logger.info(
                "task %s: session %r is %s, and nothing of it is to be produced here",
                delivery.task_id, begun.session_id, begun.status,
            )  # fmt: skip
            return facts(begun)
        whole = await delivered.produce(begun, call)
        if not whole and delivered.leaves and begun.stopping != "cancelled":
            raise NoResultError
        with suppress(ProducerFenced):
            await begun.close()
        try:
            return facts(await begun.info())
        except SessionNotFound:
            return {"session_id": begun.session_id, "status": Status.LOST.value}

    # By which taskiq reads the result.
    run.__annotations__ = {**function.__annotations__, "return": dict}
    return run


async def _feed(stream: LiveStream, call: Callable[[], Any]) -> None:
    source = call()
    if inspect.isawaitable(source) and not isinstance(source, AsyncIterable):
        source = await source
    if source is None:
        return
    sources.check(source)
    await sources.feed(source, stream)


class _Middleware(TaskiqMiddleware):  # type: ignore[misc]
    """Knows what becomes of a task beside its function: its dependencies, retries and result, and
    the end of its worker."""

    def __init__(self) -> None:
        super().__init__()
        self.hubs: set[Hub] = set()
        self._runs: set[_Run] = set()
        self._idle = asyncio.Event()

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        if self._streaming(message) is not None:
            run = _Run(message, _run.get())
            self._runs.add(run)
            _run.set(run)
        return message

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[Any]) -> None:
        run, streaming = _run.get(), self._streaming(message)
        if run is None or streaming is None:
            return
        _run.set(run.outer)
        try:
            if result.is_err:
                await self._end(run, streaming, result.error)
        finally:
            self._runs.discard(run)
            if not self._runs:
                self._idle.set()

    async def _end(self, run: _Run, streaming: _Streaming, error: BaseException | None) -> None:
        """The task has no result: it has failed, unless it is to come again."""
        if isinstance(error, NoResultError):
            if run.stream is not None:
                await run.stream.release()
            if run.leaves:
                await self.broker.kick(self.broker.formatter.dumps(run.message))
            return
        reason = error or "the task has failed"
        try:
            if run.stream is not None:
                await run.stream.fail(reason)
            else:
                delivery = streaming.delivery(run.message, failed=True)
                await fail(streaming.hub, delivery, reason)
        except Exception:
            logger.exception("task %s: its session could not be ended", run.message.task_id)

    async def on_worker_shutdown(self, _: object) -> None:
        """Leave what still runs to other workers."""
        self._idle.clear()
        for run in [*self._runs]:
            run.leave()
        if self._runs:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEAVING):
                    await self._idle.wait()
        for hub in self.hubs:
            await hub.aclose()

    def _streaming(self, message: TaskiqMessage) -> _Streaming | None:
        task = self.broker.find_task(message.task_name)
        return None if task is None else _streaming.get(task.original_func)


def _middleware(broker: AsyncBroker) -> _Middleware:
    for one in broker.middlewares:
        if isinstance(one, _Middleware):
            return one
    added = _Middleware()
    broker.add_middlewares(added)
    broker.add_event_handler(TaskiqEvents.WORKER_SHUTDOWN, added.on_worker_shutdown)
    return added
