"""Producers that are processes of their own, to be killed with SIGKILL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from itertools import count
from typing import Any

from streamhub import StreamHubError

from .answer import Model
from .producers import ProducerGone

__all__ = ["CannotStart", "ProcessProducers"]

# A process that cannot even start is not started for ever.
_ATTEMPTS = 3


class CannotStart(StreamHubError):
    """No producer process comes up."""

    def __init__(self) -> None:
        super().__init__("the producer process ends as soon as it is started; see what it printed")


class RefusedByStore(StreamHubError):
    """What the producer process says of an attempt to claim."""


class ProcessProducers:
    """Keeps one producer process running, until ``aclose``. Start it with ``start``."""

    crash_kind = "SIGKILL"

    def __init__(self, redis_url: str, model: Model) -> None:
        self._environment = {
            **os.environ,
            # Other users can see a command line, but not these.
            "STREAMHUB_DEMO_REDIS": redis_url,
            "STREAMHUB_DEMO_MODEL_URL": model.url,
            "STREAMHUB_DEMO_MODEL": model.name,
            "STREAMHUB_DEMO_MODEL_KEY": model.key,
        }
        self.dead: set[str] = set()
        self._child: _Child | None = None
        self._hopeless = False
        self._changed = asyncio.Condition()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the first, and return when it is ready.

        :raises CannotStart: it ended before that.
        """
        self._keeper = asyncio.create_task(self._keep(), name="demo producer processes")
        await self._ready()

    @property
    def current(self) -> dict[str, Any]:
        if self._child is None:
            return {"name": "none yet", "pid": None}
        return {"name": self._child.name, "pid": self._child.pid}

    async def produce(self, session_id: str, question: str) -> None:
        child = await self._ready()
        await child.produce(session_id, question)

    def crash(self) -> dict[str, Any]:
        dead = self.current
        if self._child is not None:
            self.dead.add(self._child.name)
            self._child.kill()
        return dead

    async def aclose(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def _ready(self) -> _Child:
        """The process, once there is one.

        :raises CannotStart: there will be none.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._child is not None or self._hopeless)
            if self._child is None:
                raise CannotStart
            return self._child

    async def _keep(self) -> None:
        """Start a process whenever there is none."""
        failures = 0
        while failures < _ATTEMPTS:
            child = await _Child.start(self._environment)
            try:
                if await child.is_ready():
                    failures = 0
                    await self._become(child)
                    await child.ended()
                else:
                    failures += 1
            finally:
                self._child = None
                self.dead.add(child.name)
                await child.aclose()
        self._hopeless = True
        await self._become(None)

    async def _become(self, child: _Child | None) -> None:
        async with self._changed:
            if child is not None:
                # A system gives out its numbers again.
                self.dead.discard(child.name)
            self._child = child
            self._changed.notify_all()


class _Child:
    """One producer process. It ends with its standard input, so with this process too."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._numbers = count(1)
        self._claims: dict[int, asyncio.Future[None]] = {}

    @classmethod
    async def start(cls, environment: dict[str, str]) -> _Child:
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "streamhub.demo.worker"),
                stdin=PIPE,
                stdout=PIPE,
                env=environment,
                # Ctrl-C on our terminal is for us alone.
                start_new_session=True,
            )
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def name(self) -> str:
        """As it calls itself."""
        return f"process {self.pid}"

    async def is_ready(self) -> bool:
        assert self._process.stdout is not None
        return bool(await self._process.stdout.readline())

    async def produce(self, session_id: str, question: str) -> None:
        number = next(self._numbers)
        claim = self._claims[number] = asyncio.get_running_loop().create_future()
        order = {"number": number, "session": session_id, "question": question}
        try:
            if self._process.returncode is not None:
                raise ProducerGone(self.name)
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            await claim
        finally:
            del self._claims[number]

    async def ended(self) -> None:
        """Pass on what it reports, until it ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            report = json.loads(line)
            claim = self._claims.get(report["number"])
            if claim is None or claim.done():
                continue
            if report["error"] is None:
                claim.set_result(None)
            else:
                claim.set_exception(RefusedByStore(report["error"]))
        await self._process.wait()
        self._disappoint()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    async def aclose(self) -> None:
        """Let it end by itself, which takes a moment; if it does not, kill it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(3):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        self._disappoint()

    def _disappoint(self) -> None:
        for claim in self._claims.values():
            if not claim.done():
                claim.set_exception(ProducerGone(self.name))
