"""The hubs of a worker's process: opened after the fork, at their first use, and closed with it."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, ParamSpec, TypeAlias, TypeVar

from celery import signals

from ..errors import HubClosed
from ..hub import Hub
from ..sync.background import Background

__all__ = ["HubSource", "ProcessHub", "check_hub", "process_hub", "shutdown"]

logger: logging.Logger = logging.getLogger("streamhub")

#: What a hub is opened from: a URL, or a function that opens one.
HubSource: TypeAlias = "str | Callable[[], Hub]"

P = ParamSpec("P")
T = TypeVar("T")

# How long the end of a process waits for sessions of tasks that have failed to be ended.
_LAST_ENDS = 5.0


class ProcessHub:
    """One hub, in an event loop of its own thread, for all threads of this process."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.background: Background = Background(hub)
        self._later: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Event | None = None

    def later(
        self, function: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Begin what the caller does not wait for, though the end of the process does, for a few
        seconds."""

        async def begin() -> None:
            task = asyncio.create_task(_logged(function(*args, **kwargs)))
            self._later.add(task)
            task.add_done_callback(self._later.discard)

        self.background.call(begin)

    async def wait_leaving(self) -> None:
        """Wait until the worker is told to shut down."""
        if self._leaving is None:
            self._leaving = leaving = asyncio.Event()
            shutdown.tell(leaving.set)
        await self._leaving.wait()

    def close(self) -> None:
        with suppress(HubClosed):
            self.background.call(self._end_later)
        self.background.close()

    async def _end_later(self) -> None:
        if self._later:
            await asyncio.wait(self._later, timeout=_LAST_ENDS)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except HubClosed:
        pass
    except Exception:
        logger.exception("the session of a task that has failed could not be ended")


class _Shutdown:
    """Tells every process of a worker that it shuts down: by a pipe, made before the first fork,
    that can be read from then on, and that nobody reads."""

    def __init__(self) -> None:
        self._pipe: tuple[int, int] | None = None

    def prepare(self) -> None:
        if self._pipe is None:
            self._pipe = os.pipe()

    def begin(self) -> None:
        """From a signal handler, too."""
        if self._pipe is not None:
            os.write(self._pipe[1], b"1")

    @property
    def has_begun(self) -> bool:
        return self._pipe is not None and select.select([self._pipe[0]], [], [], 0.0)[0] != []

    def tell(self, call: Callable[[], None]) -> None:
        """Call ``call`` in the event loop that runs here, once the worker shuts down."""
        if self._pipe is None:
            return
        loop, end = asyncio.get_running_loop(), self._pipe[0]

        def told() -> None:
            loop.remove_reader(end)
            call()

        loop.add_reader(end, told)


shutdown: _Shutdown = _Shutdown()
_hubs: dict[HubSource, ProcessHub] = {}
_lock = threading.RLock()


def check_hub(source: object) -> None:
    """:raises TypeError: no hub can be opened from it."""
    if isinstance(source, Hub):
        raise TypeError(
            "hub must be a URL or a function that opens a streamhub.Hub, not a hub: every process "
            "of a worker opens one of its own, after the fork"
        )
    if not (isinstance(source, str) or callable(source)):
        raise TypeError(
            "hub must be a URL or a function that opens a streamhub.Hub, not "
            f"{type(source).__name__}"
        )


def process_hub(source: HubSource) -> ProcessHub:
    """The hub of this process that is opened from ``source``: one for all tasks that name it."""
    with _lock:
        if source not in _hubs:
            opened = Hub.from_url(source) if isinstance(source, str) else source()
            if not isinstance(opened, Hub):
                raise TypeError(
                    f"hub={source!r} must open a streamhub.Hub, but returned "
                    f"{type(opened).__name__}"
                )
            _hubs[source] = ProcessHub(opened)
        return _hubs[source]


def _close_all() -> None:
    with _lock:
        hubs = [*_hubs.values()]
        _hubs.clear()
    for hub in hubs:
        try:
            hub.close()
        except Exception:
            logger.exception("%r could not be closed", hub.hub)


def _forget_all() -> None:
    """The process was forked: what is open is the parent's."""
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.RLock()
    _hubs.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@signals.worker_init.connect(weak=False)  # type: ignore[untyped-decorator]
def _on_worker_init(**_: object) -> None:
    shutdown.prepare()


@signals.worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
def _on_worker_shutting_down(**_: object) -> None:
    shutdown.begin()


@signals.worker_process_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
def _on_worker_process_shutdown(**_: object) -> None:
    _close_all()


@signals.worker_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
def _on_worker_shutdown(**_: object) -> None:
    _close_all()
