"""The connections that tabs follow answers on, so that the demo can cut one for real."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Connections", "Cuttable", "Tab"]

# How many tabs are remembered.
_TABS = 1_000


@dataclass
class Tab:
    """What the server knows of one browser tab."""

    #: How often it has connected to follow an answer.
    connects: int = 0
    #: Per session, where the newest connection began: the ``Last-Event-ID`` that the browser sent,
    #: and how many chunks were stored then.
    resumed: dict[str, tuple[str | None, int]] = field(default_factory=dict)
    #: What is being sent to it.
    open: set[asyncio.Future[None]] = field(default_factory=set)


class Connections:
    """All tabs, by the name that each has given itself."""

    def __init__(self) -> None:
        self._tabs: OrderedDict[str, Tab] = OrderedDict()

    def tab(self, name: str) -> Tab:
        tab = self._tabs.setdefault(name, Tab())
        self._tabs.move_to_end(name)
        if len(self._tabs) > _TABS:
            _, oldest = self._tabs.popitem(last=False)
            _cut(oldest)
        return tab

    def cut(self, name: str) -> int:
        """Cut every connection of a tab; how many there were."""
        return _cut(self.tab(name))

    def cut_all(self) -> None:
        for tab in self._tabs.values():
            _cut(tab)


class Cuttable:
    """A response that can be cut off: the server then closes the connection in mid-stream, without
    the end that HTTP has for a response, which a browser takes for what it is, a broken one."""

    def __init__(self, response: ASGIApp, tab: Tab) -> None:
        self._response = response
        self._tab = tab

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._response(scope, receive, send))
        self._tab.open.add(sending)
        try:
            await asyncio.wait({sending})
        finally:
            self._tab.open.discard(sending)
            sending.cancel()
        if not sending.cancelled():
            sending.result()


def _cut(tab: Tab) -> int:
    for sending in tab.open:
        sending.cancel()
    return len(tab.open)
