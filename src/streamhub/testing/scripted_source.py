"""A model that says what a test wants, when the test wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from ..parts import AnyPart

__all__ = ["PAUSE", "ScriptedSource"]


class _Pause:
    def __repr__(self) -> str:
        return "PAUSE"


#: Where a :class:`ScriptedSource` waits for ``go_on``.
PAUSE: Final = _Pause()


class ScriptedSource:
    """A source for :meth:`streamhub.Hub.run`, in place of a model.

    :param script: texts and parts, which are said one after the other; ``PAUSE``, where it waits
        for ``go_on``; an exception, which it raises.
    :raises TypeError: something in the script is none of these.

    ::

        model = ScriptedSource("The ", PAUSE, "lamp.")
        await hub.run("chat:1", model)
        await model.pauses()  # "The " was said, and nothing more comes
        ...                   # reload the page, kill the server, press Stop
        model.go_on()
    """

    def __init__(self, *script: str | AnyPart | _Pause | BaseException) -> None:
        self._script = script
        self._here = asyncio.Event()
        self._go_on = asyncio.Event()
        #: What was said, in order.
        self.said: list[str | AnyPart] = []
        #: Why it was interrupted: ``"cancelled"``, ``"handover"`` or ``"fenced"``; None if it was
        #: not.
        self.interrupted: str | None = None

    async def pauses(self) -> None:
        """Wait until it waits for ``go_on``."""
        await self._here.wait()

    def go_on(self) -> None:
        """Let it go on from where it waits, or from where it will next."""
        self._here.clear()
        self._go_on.set()

    async def __aiter__(self) -> AsyncIterator[str | AnyPart]:
        try:
            for step in self._script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, _Pause):
                    self._here.set()
                    await self._go_on.wait()
                    self._go_on.clear()
                else:
                    self.said.append(step)
                    yield step
        except asyncio.CancelledError as interruption:
            self.interrupted = str(interruption) or "cancelled"
            raise
