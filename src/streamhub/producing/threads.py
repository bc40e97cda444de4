"""Drawing from what blocks: in a thread of its own, so that nobody else is held."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import Any

__all__ = ["drawn_in_thread"]

# How far a thread may draw ahead of what was taken.
_AHEAD = 64
# How long the end of a thread is waited for; and how often it is torn out of a read meanwhile, and
# later on.
_STOPPING = 1.0
_TRY = 0.02
_TRY_AT_MOST = 1.0


async def drawn_in_thread(
    opened: Callable[[], Iterable[object]], *, closed: Callable[[], object], tear: bool = False
) -> AsyncGenerator[object, None]:
    """Draw from ``opened()`` in a thread, which calls ``closed`` at the end, however it comes.

    :param tear: where nobody draws any more, the thread does not wait for what it reads: the
        connection that it reads from is shut down.
    """
    loop = asyncio.get_running_loop()
    drawn: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    stopped = threading.Event()
    over = asyncio.Event()

    def hand_over(kind: str, value: object = None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody wants it any more
            loop.call_soon_threadsafe(drawn.put_nowait, (kind, value))
            return
        stopped.set()

    def draw() -> None:
        try:
            try:
                for item in opened():
                    room.acquire()
                    if stopped.is_set():
                        break
                    hand_over("item", item)
            finally:
                closed()
        except Exception as error:
            hand_over("error", error)
        except BaseException as error:  # as SystemExit: it is the source that ends, not the loop
            hand_over("error", RuntimeError(f"the source raised {error!r}"))
        else:
            hand_over("end")
        finally:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(over.set)

    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(draw,), name="streamhub source", daemon=True
    )
    thread.start()
    try:
        while True:
            kind, value = await drawn.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            room.release()
            yield value
    finally:
        stopped.set()
        room.release()
        if tear and not over.is_set():
            _tear(thread, _TRY)
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOPPING):
                    await over.wait()


def _tear(thread: threading.Thread, again: float) -> None:
    """Shut down what ``thread`` reads from, now and again, until it has ended: it may be about to
    read, or a client may try once more by itself."""
    if not thread.is_alive():
        return
    if (read := _socket_of(thread)) is not None:
        with suppress(OSError):
            # Not the method of a TLS socket, which would forget its state under the reader's hands.
            socket.socket.shutdown(read, socket.SHUT_RDWR)
    later = min(again * 2, _TRY_AT_MOST)
    asyncio.get_running_loop().call_later(again, _tear, thread, later)


def _socket_of(thread: threading.Thread) -> socket.socket | None:
    """The socket in which ``thread`` waits; None if it waits in none.

    Closing a response from outside would not do: who closes a socket leaves those that read from
    it waiting. And not every stream has a response to get at.
    """
    found: socket.socket | None = None
    frame: FrameType | None = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_globals.get("__name__", "").endswith(".http2"):
            return None  # other requests share it
        for held in (frame.f_locals.get("self"), frame.f_locals.get("sock")):
            for one in (held, getattr(held, "_sock", None)):
                if found is None and isinstance(one, socket.socket):
                    found = one
        frame = frame.f_back
    return found
