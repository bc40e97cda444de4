"""The event loop behind one hub of threads: a thread that runs it, and calls that wait for it."""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent import futures
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, suppress
from typing import Any, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..errors import HubClosed, HubInOtherProcess, StreamClosed
from ..hub import Hub

__all__ = ["Background", "in_thread"]

logger: logging.Logger = logging.getLogger("streamhub")

P = ParamSpec("P")
T = TypeVar("T")

# How long the interpreter's exit waits for a hub that was left open: a little more than closing
# one takes when its store cannot be reached.
_AT_EXIT = 12.0


class Background:
    """Runs one asyncio hub in an event loop thread, from the first call on until ``close``.

    No call outlives the loop: whichever way that ends, those who wait get ``HubClosed``.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        # A signal handler may call the hub right in the middle of another call of its thread.
        self._lock = threading.RLock()
        self._portal: AbstractContextManager[BlockingPortal] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread
        self._process = 0
        self._calls: set[Future[Any]] = set()
        self._closed = False
        self._closing: Future[None] | None = None
        #: Whether the loop has ended, or is about to: nothing that is submitted would run.
        self._gone = False

    def call(
        self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function`` in the event loop and wait for its result.

        Interrupting the wait (Ctrl-C) cancels it.

        :raises HubClosed: the hub is closed, or is closed meanwhile.
        :raises HubInOtherProcess: this one was forked from that where the hub was first used.
        :raises RuntimeError: this is the event loop's own thread.
        """
        return self._wait(function(*args, **kwargs), last=False)

    def call_last(
        self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same, also while the hub closes: for what that waits for."""
        return self._wait(function(*args, **kwargs), last=True)

    def call_while(
        self,
        goes_on: Callable[[], bool],
        every: float,
        function: Callable[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T | None:
        """The same as ``call``, for somebody who may lose interest: ``goes_on`` is asked each
        ``every`` seconds, and where it says no, the call is cancelled and the answer None."""
        call = self.begin(function, *args, **kwargs)
        try:
            while not futures.wait([call], every).done:
                if not goes_on():
                    call.cancel()
                    return None
            return call.result()
        except CancelledError:
            raise HubClosed from None
        except BaseException:
            call.cancel()
            raise
        finally:
            del call  # as in _wait

    def begin(
        self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Run ``function`` in the event loop; what is returned is cancelled if the hub closes.

        :raises HubClosed: the hub is closed.
        """
        return self._begun(function(*args, **kwargs), last=False)

    def _wait(self, work: Coroutine[Any, Any, T], *, last: bool) -> T:
        call = self._begun(work, last=last)
        try:
            return call.result()
        except CancelledError:
            raise HubClosed from None
        except BaseException:
            call.cancel()
            raise
        finally:
            del call  # its error's traceback would hold this frame, and this frame the error

    def _begun(self, work: Coroutine[Any, Any, T], *, last: bool) -> Future[T]:
        try:
            loop = self._started()
            with self._lock:
                if self._gone or (self._closed and not last):
                    raise HubClosed
                return self._submit(work, loop)
        except BaseException:
            work.close()
            raise

    def close(self, drain: float = 0.0) -> None:
        """Close the hub and end the thread. Idempotent; all who call it wait for the end.

        :param drain: as for ``Hub.aclose``; calls go on meanwhile, those of sources above all.
        """
        self._started()
        try:
            self._closed_soon(drain).result()
        except CancelledError:
            pass  # the loop has ended, and all that was in it
        finally:
            with self._lock:
                self._closed = True
                portal, self._portal = self._portal, None
            if portal is not None:
                atexit.unregister(self._close_at_exit)
                if self._gone:
                    # The portal would wait for an answer of a loop that is about to end.
                    self._thread.join()
                portal.__exit__(None, None, None)

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is not None:
            self._check_caller()
            return self._loop
        with self._lock:
            if self._loop is None:
                self._portal = start_blocking_portal(name="streamhub")
                portal = self._portal.__enter__()
                self._process = os.getpid()
                self._loop, self._thread = portal.call(_loop_and_thread)
                portal.start_task_soon(portal.sleep_until_stopped).add_done_callback(self._end)
                atexit.register(self._close_at_exit)
            return self._loop

    def _check_caller(self) -> None:
        if self._process != os.getpid():
            raise HubInOtherProcess(self._process)
        if self._thread is threading.current_thread():
            raise RuntimeError(
                "a hub of streamhub.sync cannot be called from its own event loop: "
                "give it a function that is not async"
            )

    def _submit(self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> Future[T]:
        try:
            # One change of threads and back; the portal's own call() takes two.
            call = asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError:  # the loop is closed
            work.close()
            raise HubClosed from None
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    def _closed_soon(self, drain: float = 0.0) -> Future[None]:
        with self._lock:
            self._closed = self._closed or not drain
            if self._closing is None:
                if self._gone or self._loop is None:
                    self._closing = Future()
                    self._closing.cancel()
                else:
                    self._closing = self._submit(self._hub.aclose(drain=drain), self._loop)
            return self._closing

    def _end(self, _: Future[None]) -> None:
        """The loop ends: release all who wait for it."""
        with self._lock:
            self._closed = self._gone = True
        for call in list(self._calls):
            call.cancel()

    def _close_at_exit(self) -> None:
        """Store what was published and release the leases of a hub that nobody closed."""
        if self._process == os.getpid():
            with suppress(Exception):
                self._closed_soon().result(_AT_EXIT)


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``function`` in a worker thread. Cancelling it leaves the thread to end by itself."""
    left = False

    def work() -> T:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if left and not isinstance(error, StreamClosed | HubClosed):
                logger.exception("%r failed after the stream had ended", function)
            raise
        except BaseException as error:
            # Raised in the event loop it would end that, and all streams of the hub with it.
            raise RuntimeError(f"{type(error).__name__}: {error}") from error

    try:
        # Each may take as long as a stream does: none may wait for another's thread.
        return await to_thread.run_sync(
            work, abandon_on_cancel=True, limiter=CapacityLimiter(math.inf)
        )
    except asyncio.CancelledError:
        left = True
        raise


async def _loop_and_thread() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    return asyncio.get_running_loop(), threading.current_thread()
