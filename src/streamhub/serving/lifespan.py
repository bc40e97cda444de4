"""A hub that ends with its web application: open responses first, so that the server can stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

from anyio import to_thread

from .. import sync
from ..hub import Hub, check_drain

__all__ = ["SIGNALS", "both", "lifespan"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def lifespan(
    hub: Hub | sync.Hub, *, drain: float = 0.0
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """What closes ``hub`` when the server is told to stop, for Starlette's and FastAPI's
    ``lifespan=``.

    A server waits for its open responses before it ends an application, and a response that follows
    a session is open for as long as that. So this begins at the signal that stops the server
    (SIGINT, SIGTERM), which reaches the server as before: sources of ``run`` get ``drain`` seconds
    to end, and what they write reaches its readers. Then the hub is closed, and the responses end,
    without an end of their sessions: clients connect again, to another instance if there is one.
    A second signal cuts the draining short.
    A client that does not read keeps its connection open, and the server waiting, for as long as
    the server lets it: with uvicorn give ``--timeout-graceful-shutdown``, longer than ``drain``.

    Where the application is not in the main thread, which alone hears of signals, the hub is closed
    when the server ends the application.

    :param drain: as for ``Hub.aclose``.

    ::

        app = FastAPI(lifespan=lifespan(hub))

    Around what else an application needs::

        @asynccontextmanager
        async def prepared(app):
            async with lifespan(hub)(app):
                ...
                yield
    """
    check_drain(drain)

    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[None]:
        closing: list[asyncio.Task[None]] = []

        def close() -> None:
            if len(closing) < 2:
                patience = 0.0 if closing else drain
                closing.append(asyncio.create_task(_close(hub, patience)))

        loop = asyncio.get_running_loop()
        with _at_signals(lambda: loop.call_soon_threadsafe(close)):
            try:
                yield
            finally:
                if not closing:
                    close()
                await asyncio.gather(*closing)

    return run


async def _close(hub: Hub | sync.Hub, drain: float) -> None:
    if isinstance(hub, Hub):
        await hub.aclose(drain=drain)
    else:
        await to_thread.run_sync(lambda: hub.close(drain=drain))


@contextmanager
def _at_signals(call: Callable[[], object]) -> Iterator[None]:
    """Call it in the handler of each signal that stops a server, before what is called then."""
    installed: list[tuple[signal.Signals, Any, Any]] = []
    for number in SIGNALS:
        before = signal.getsignal(number)
        # Where nothing is called, the signal ends the process or is ignored, and so it stays.
        if callable(before):
            handler = both(call, before)
            try:
                signal.signal(number, handler)
            except ValueError:
                break  # This is not the main thread.
            installed.append((number, handler, before))
    try:
        yield
    finally:
        for number, handler, before in installed:
            if signal.getsignal(number) is handler:
                signal.signal(number, before)


def both(
    call: Callable[[], object], before: Callable[[int, FrameType | None], Any]
) -> Callable[[int, FrameType | None], None]:
    """A signal handler that does ``call``, then what was to be done ``before`` there was one."""

    def handle(number: int, frame: FrameType | None) -> None:
        call()
        before(number, frame)

    return handle
