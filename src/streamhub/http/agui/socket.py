"""Runs over one WebSocket, as TanStack AI's ``webSocket`` speaks it.

A connection of ``?offset=`` follows one run and is closed at its end. On any other one each frame
is the input of a run, or ``{"type": "abort", "runId": …}``, which stops one; events come as
``{"id": …, "chunk": …}``. Each is asked as the request of HTTP that it stands for.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message
from starlette.websockets import WebSocket

from ...formats.json_text import encode
from ..exchanges import LONGEST_DETAIL, Exchange, ask, detail_of
from ..frames import ASK_AGAIN, REFUSED, FrameSocket, Spawn

__all__ = ["RunSocket"]

_MOST_RUNS = 64
# How many frames of one may be under way: with aborts, and runs that others have replaced.
_MOST_FRAMES = 4 * _MOST_RUNS
_PING = '{"type":"ping"}'


class RunSocket(FrameSocket):
    """Closing it stops no run."""

    def __init__(self, websocket: WebSocket) -> None:
        super().__init__(websocket)
        self._runs: dict[str, _Run] = {}
        self._under_way = 0

    def _begin(self, spawn: Spawn) -> None:
        if "offset" in self._websocket.query_params:
            joined = self._runs[""] = _Run(self, "", "GET")
            spawn(self._join, joined)

    def _is_busy(self) -> bool:
        return bool(self._runs)

    def _left(self) -> None:
        for run in self._runs.values():
            run.gone.set()

    async def _take(self, value: Any, data: str | bytes, spawn: Spawn) -> None:
        run = value.get("runId") if isinstance(value, dict) else None
        if not isinstance(run, str) or not run:
            detail = "a frame must be the input of a run, or an abort, and name it as runId"
            return await self._refuse(detail)
        if self._under_way >= _MOST_FRAMES:
            return await self._refuse(f"at most {_MOST_FRAMES} frames may be under way", run)
        before = self._runs.get(run)
        if value.get("type") == "abort":
            self._under_way += 1
            spawn(self._stop, run)
            return None
        if len(self._runs) >= _MOST_RUNS:
            return await self._refuse(f"at most {_MOST_RUNS} runs may be followed on a socket", run)
        if before is not None:
            # Asked for once more: whoever reads it now reads it from its start.
            before.gone.set()
        body = data if isinstance(data, bytes) else data.encode(errors="replace")
        asked = _Run(self, run, "POST", body)
        self._runs[run] = asked
        self._under_way += 1
        spawn(self._follow, asked)
        return None

    async def _follow(self, run: _Run) -> None:
        try:
            detail = await run.follow(self._websocket)
            if detail is not None:
                await self._refuse(detail, run.name)
        finally:
            self._under_way -= 1
            if self._runs.get(run.name) is run:
                del self._runs[run.name]

    async def _join(self, run: _Run) -> None:
        detail = await run.follow(self._websocket)
        if detail is None:
            await self.close(1000, "")
        else:
            await self.close(REFUSED, detail[:100])

    async def _stop(self, run: str) -> None:
        # Of a run that was asked for a moment before there may be nothing yet.
        following = self._runs.get(run)
        try:
            if following is not None:
                await following.begun.wait()
            await ask(self._websocket, Exchange("POST", f"/{run}/stop"))
        finally:
            self._under_way -= 1

    async def _refuse(self, detail: str, run: str = "") -> None:
        tanstack = {"tanstack": {"runId": run}} if run else {}
        more = {"metadata": tanstack} if tanstack else {}
        event = {"type": "RUN_ERROR", "message": detail, "code": "refused", **more}
        await self.send(encode(event).decode())


class _Run(Exchange):
    """A run that is followed: the lines of its answer are its frames."""

    def __init__(self, socket: RunSocket, name: str, method: str, body: bytes = b"") -> None:
        named = {"x-run-id": name} if name else {}
        super().__init__(method, "", body, {"accept": "application/x-ndjson", **named})
        self.name = name
        #: Set once it is known whether there is an answer.
        self.begun = asyncio.Event()
        self._socket = socket
        self._rest = b""
        self._text = bytearray()
        self._over = False

    async def follow(self, websocket: WebSocket) -> str | None:
        """Ask, and say what is answered; why there is no answer, if there is none."""
        try:
            error = await ask(websocket, self)
        finally:
            self.begun.set()
        if self._over or self.gone.is_set():
            return None
        if error is None and self.status == 200:
            # The server shuts down: that is no end of the run, which is to be followed elsewhere.
            await self._socket.close(ASK_AGAIN, "ask again")
            return None
        said = "" if error is not None else detail_of(bytes(self._text))
        return said or "the request could not be answered"

    async def send(self, message: Message) -> None:
        await super().send(message)
        if message["type"] == "http.response.start":
            self.begun.set()
            return
        body: bytes = message.get("body", b"")
        if self.status != 200:
            self._text += body[: LONGEST_DETAIL - len(self._text)]
            return
        self._over = not message.get("more_body", False)
        *lines, self._rest = (self._rest + body).split(b"\n")
        for line in lines:
            if not self.gone.is_set():
                await self._socket.send(line.decode() or _PING)
