"""What ``hub.get`` answers: something to await, which whoever passes it on may ask more of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, TypeVar

from .chunks import Cursor, SessionInfo
from .engine import Engine
from .errors import SessionCorrupted, SessionNotFound, StoreUnavailable

__all__ = ["Lookup", "wait_registered"]

Found = TypeVar("Found")


class Lookup(Coroutine[Any, Any, Found], Generic[Found]):
    """A session that is looked for as soon as this is awaited, once."""

    def __init__(
        self,
        find: Callable[[Cursor | str | None], Coroutine[Any, Any, Found]],
        after: Cursor | str | None,
    ) -> None:
        self._find = find
        self._after = after
        self._finding: Coroutine[Any, Any, Found] | None = None

    def known_by(self, cursor: Cursor | str | None) -> Lookup[Found]:
        """The same, for somebody who holds ``cursor``, unless it was given one."""
        return Lookup(self._find, self._after or cursor)

    def __await__(self) -> Generator[Any, Any, Found]:
        return self._begun().__await__()

    def send(self, value: Any) -> Any:
        return self._begun().send(value)

    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any:
        error = kind if isinstance(kind, BaseException) else value
        return self._begun().throw(error if isinstance(error, BaseException) else kind())  # type: ignore[operator]

    def close(self) -> None:
        if self._finding is not None:
            self._finding.close()

    def _begun(self) -> Coroutine[Any, Any, Found]:
        if self._finding is None:
            self._finding = self._find(self._after)
        return self._finding


async def wait_registered(
    engine: Engine, session_id: str, wait: float | None, *, patient: bool
) -> SessionInfo | SessionCorrupted | StoreUnavailable | None:
    """The session, as soon as it is claimed or put back; None if that takes longer than ``wait``,
    and than a producer may take to put it back where somebody is ``patient``."""
    view = engine.watcher.attach(session_id)
    until = asyncio.get_running_loop().time() + (wait or 0.0)
    try:
        if patient:
            with suppress(SessionNotFound):
                return await view.wait_info(patient=True)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while True:
                    with suppress(SessionNotFound):
                        if (info := view.info_now()) is not None:
                            return info
                    await view.wait_news()
        return (await engine.store.look([session_id]))[0]
    finally:
        engine.watcher.detach(view)
