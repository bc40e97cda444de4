"""``@streamhub.celery.task``: a task that claims a session and streams what its function yields."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, get_args

from celery import Task, shared_task, signals
from celery.exceptions import Ignore, Reject, Retry

from ..chunks import SessionInfo
from ..deliveries import Delivery, FromArguments, Told, begin, facts, fail, revoke
from ..end import End
from ..errors import SessionNotFound
from ..stores.base import Takeover
from ..sync.stream import LiveStream
from .process import HubSource, ProcessHub, check_hub, logger, process_hub, shutdown
from .run import Run, Stopped

__all__ = ["StreamTask", "task"]

# How long a worker that shuts down keeps a task that is for another one, in seconds.
_UNTIL_IT_TAKES_NONE = 0.2

_running: ContextVar[Run | None] = ContextVar("streamhub.celery", default=None)


@dataclass(frozen=True)
class Streaming:
    """How a task streams: the options of ``task``, checked."""

    function: Callable[..., Any]
    bound: bool
    hub: HubSource
    session: FromArguments
    owner: FromArguments | None
    metadata: FromArguments | None
    takeover: Takeover
    drain: float | None
    on_end: Callable[[End], object] | None

    def delivery(self, task_id: str, args: Any, kwargs: Any) -> Delivery:
        """What the session of a task with these arguments is claimed with."""
        return Delivery(
            str(self.session.of(args, kwargs)),
            task_id,
            self.takeover,
            owner=None if self.owner is None else str(self.owner.of(args, kwargs)),
            metadata=None if self.metadata is None else self.metadata.of(args, kwargs),
            on_end=self.on_end,
        )

    def failed_delivery(self, task_id: str, args: Any, kwargs: Any) -> Delivery:
        """The same of a task that has failed, be it because of its arguments."""
        args, kwargs = args or (), kwargs or {}
        owner: str | None = None
        if self.owner is not None:
            with suppress(Exception):
                owner = str(self.owner.of(args, kwargs))
        session_id = str(self.session.of(args, kwargs))
        return Delivery(session_id, task_id, self.takeover, owner=owner, on_end=self.on_end)


class StreamTask(Task):  # type: ignore[misc]
    """What ``task`` makes of a function. ``self`` in one with ``bind=True``."""

    abstract = True
    #: Set by ``task``.
    streaming: Streaming

    @property
    def stream(self) -> LiveStream:
        """The stream that the running task produces, for what it does not yield. After a takeover
        its ``text()`` is what was said so far.

        :raises RuntimeError: no task of this kind is running in this thread.
        """
        run = _running.get()
        if run is None:
            raise RuntimeError(f"task {self.name} has no stream: it is not running here")
        return run.stream

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        streaming, request = self.streaming, self.request
        if request.id is None or request.called_directly:
            # As the plain function that it is: for tests, and for other tasks.
            bound = (self,) if streaming.bound else ()
            return streaming.function(*bound, *args, **kwargs)
        if streaming.drain is not None and shutdown.has_begun:
            # It takes messages for a moment still, those that it has just sent included.
            time.sleep(_UNTIL_IT_TAKES_NONE)
            self._send_again()
            raise Ignore("its worker shuts down")
        hub = process_hub(streaming.hub)
        run = Run(hub, streaming.drain, handed_over=self._send_again)
        delivery = streaming.delivery(request.id, args, kwargs)
        begun = hub.background.call(begin, hub.hub, delivery, run.on_cancel)
        if isinstance(begun, SessionInfo):
            logger.info(
                "task %s: session %r is %s, and nothing of it is to be produced here",
                request.id, begun.session_id, begun.status,
            )  # fmt: skip
            return facts(begun)
        run.begin(begun)
        running = _running.set(run)
        try:
            self._call(*args, **kwargs)
        except Stopped:
            run.close()
        except Ignore:
            run.close()
            raise
        except Retry:
            run.release()
            raise
        except Reject as rejected:
            if rejected.requeue:
                run.release()
            else:
                run.fail(rejected)
            raise
        except Exception as error:
            run.fail(error)
            raise
        except BaseException:
            # The process is told to end, by a revocation or by its worker.
            run.release()
            raise
        else:
            run.close()
        finally:
            _running.reset(running)
            run.end()
        if run.is_handed_over:
            raise Ignore("its worker shuts down, and another one is to go on")
        return self._facts(run)

    def _call(self, *args: Any, **kwargs: Any) -> None:
        """As the application has its tasks called: in a context of its own, for one."""
        call = super().__call__
        if getattr(call, "__func__", None) is Task.__call__:
            call = self.run
        call(*args, **kwargs)

    def _facts(self, run: Run) -> dict[str, Any]:
        try:
            return facts(run.stream.info())
        except SessionNotFound:
            return {"session_id": run.stream.session_id, "status": "lost"}

    def _send_again(self) -> None:
        """Have another worker go on with the task, whether or not this one has acknowledged it."""
        if not self.request.is_eager:
            self.signature_from_request(self.request, retries=self.request.retries).apply_async()


def task(
    app: Any = None,
    *,
    hub: HubSource,
    session: Told,
    owner: Told | None = None,
    metadata: Callable[..., Any] | None = None,
    takeover: Takeover = "continue",
    drain: float | None = None,
    on_end: Callable[[End], object] | None = None,
    bind: bool = False,
    base: type[Any] | None = None,
    **options: Any,
) -> Callable[[Callable[..., Any]], Any]:
    """A decorator like ``app.task``, for a function that yields the text and the parts of an
    answer, or returns an iterable of them, async ones included::

        @streamhub.celery.task(app, hub=URL, session="chat:{chat}")
        def answer(chat, prompt):
            yield from model.stream(prompt)

    The task claims its session before the function is called, and ends it as the function ends:
    finished, failed, or (by ``stream.cancel()`` from anywhere, or by a revocation) cancelled. Its
    result is a dict of ``session_id``, ``status``, ``cursor`` and ``error``. Called directly, it
    is the function.

    A task that is retried, or delivered again after a crash, goes on with the session; one that
    is delivered twice produces once. One that fails before it has claimed, be it revoked, expired,
    or without a worker to run in, leaves a session that has failed.

    :param app: the application; ``shared_task`` without.
    :param hub: a URL, or a function without arguments that opens a :class:`streamhub.Hub`. Each
        process opens one, after the fork.
    :param session: whose session it is: the name of an argument, a template with names of
        arguments in braces, or a function of the arguments.
    :param owner: the same, for the session's owner.
    :param metadata: a function of the arguments, for the session's metadata.
    :param takeover: what a retry does with what was said before: ``"continue"`` goes on after it
        (it is ``self.stream.text()`` in a task with ``bind=True``), ``"restart"`` drops it. What
        another task has ended is always dropped.
    :param drain: for how many seconds the function may go on when its worker shuts down. Then the
        session is released, and the task sent again, for another worker to go on with. Without, a
        warm shutdown waits for its end, as Celery does for every task.
    :param on_end: as for :meth:`streamhub.Hub.register`; called in the hub's own thread.
    :param bind: and ``base``, as all other options, are those of ``app.task``.
    :raises TypeError: ``hub``, ``session`` or ``owner`` is none.
    :raises ValueError: ``takeover`` or ``drain`` is none.
    """
    check_hub(hub)
    if takeover not in get_args(Takeover):
        raise ValueError(f"takeover must be 'restart' or 'continue', not {takeover!r}")
    if drain is not None and not (isinstance(drain, int | float) and drain >= 0):
        raise ValueError(f"drain must be a number of seconds, 0 or more, or None, not {drain!r}")
    if metadata is not None and not callable(metadata):
        raise TypeError(
            f"metadata must be a function of the arguments, not {type(metadata).__name__}"
        )
    if base is None:
        base = Task if app is None else app.Task
    if not issubclass(base, StreamTask):
        base = type("StreamTask", (StreamTask, base), {"abstract": True})

    def decorate(function: Callable[..., Any]) -> Any:
        if not callable(function):
            raise TypeError(
                "streamhub.celery.task takes the application, and its options by name: "
                f"@task(app, hub=…, session=…), and decorates a function, not {function!r:.100}"
            )

        def told(value: Told | None, option: str) -> FromArguments | None:
            if value is None:
                return None
            return FromArguments(function, value, option=option, skip=int(bind))

        session_of = told(session, "session")
        assert session_of is not None
        streaming = Streaming(
            function,
            bind,
            hub,
            session_of,
            told(owner, "owner"),
            told(metadata, "metadata"),
            takeover,
            drain,
            on_end,
        )
        decorator = shared_task if app is None else app.task
        return decorator(bind=True, base=base, streaming=streaming, **options)(
            _drawn(function, bound=bind)
        )

    return decorate


def _drawn(function: Callable[..., Any], *, bound: bool) -> Callable[..., Any]:
    """The function as Celery runs it: what it yields is drawn within the call, where its retries
    and its time limits are."""

    @functools.wraps(function)
    def run(self: StreamTask, *args: Any, **kwargs: Any) -> None:
        running = _running.get()
        assert running is not None
        me = (self,) if bound else ()
        running.draw(functools.partial(function, *me, *args, **kwargs))

    signature = inspect.signature(function)
    if not bound:
        me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        signature = signature.replace(parameters=[me, *signature.parameters.values()])
    run.__signature__ = signature  # type: ignore[attr-defined]
    return run


def _delivery(task: StreamTask, task_id: str, args: Any, kwargs: Any) -> Delivery | None:
    try:
        return task.streaming.failed_delivery(task_id, args, kwargs)
    except Exception:
        logger.exception(
            "task %s: its session cannot be told from its arguments, so that nobody who waits for "
            "it hears that it has failed", task_id,
        )  # fmt: skip
        return None


def _later(
    task: StreamTask, end: Callable[..., Any], delivery: Delivery, reason: BaseException | str
) -> None:
    hub: ProcessHub = process_hub(task.streaming.hub)
    hub.later(end, hub.hub, delivery, reason)


@signals.task_failure.connect(weak=False)  # type: ignore[untyped-decorator]
def _on_task_failure(
    sender: Any = None,
    task_id: str = "",
    exception: BaseException | None = None,
    args: Any = None,
    kwargs: Any = None,
    **_: object,
) -> None:
    """In the process of the task; in the worker's, where that one was killed."""
    if (
        isinstance(sender, StreamTask)
        and (delivery := _delivery(sender, task_id, args, kwargs)) is not None
    ):
        _later(sender, fail, delivery, exception or "the task has failed")


@signals.task_revoked.connect(weak=False)  # type: ignore[untyped-decorator]
def _on_task_revoked(
    sender: Any = None, request: Any = None, expired: bool = False, **_: object
) -> None:
    """In the worker's own process, before or while the task runs."""
    if (
        isinstance(sender, StreamTask)
        and (delivery := _delivery(sender, request.id, request.args, request.kwargs)) is not None
    ):
        _later(sender, revoke, delivery, f"the task {'has expired' if expired else 'was revoked'}")
