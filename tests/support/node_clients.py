"""The stock clients of the faces, in one process of Node.js that takes many cases."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

from streamhub.testing.waiting import PATIENCE, bounded, patience

__all__ = ["NodeClients"]

FOLDER = Path(__file__).parents[1] / "browser"


class NodeClients:
    """What a script in ``tests/browser`` can do, called from here."""

    def __init__(self, script: str = "clients.mjs") -> None:
        self._script = script

    def __enter__(self) -> NodeClients:
        self._process = subprocess.Popen(
            [Path(sys.executable).with_name("node"), self._script],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def begin(self, call: str, **given: Any) -> Future[Any]:
        number = next(self._numbers)
        answer: Future[Any] = Future()
        self._waiting[number] = answer
        assert self._process.stdin is not None
        if not self._reader.is_alive():
            raise RuntimeError("the clients' process has ended")
        with self._lock:
            self._process.stdin.write(json.dumps({"id": number, "call": call, **given}) + "\n")
            self._process.stdin.flush()
        return answer

    def each(self, call: str, cases: list[dict[str, Any]]) -> list[Any]:
        """What ``call`` gives in each of these cases."""
        answers = [self.begin(call, **given) for given in cases]
        return [answer.result(patience(4 * PATIENCE)) for answer in answers]

    async def call(self, call: str, **given: Any) -> Any:
        """
        :raises RuntimeError: it threw.
        """
        async with bounded(2 * PATIENCE):
            return await asyncio.wrap_future(self.begin(call, **given))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            waiting = self._waiting.pop(answer["id"])
            if not waiting.set_running_or_notify_cancel():
                continue
            if "error" in answer:
                waiting.set_exception(RuntimeError(answer["error"]))
            else:
                waiting.set_result(answer.get("value"))
        for waiting in self._waiting.values():
            if waiting.set_running_or_notify_cancel():
                waiting.set_exception(RuntimeError("the clients' process has ended"))
