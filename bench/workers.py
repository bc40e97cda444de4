"""The processes that measure: each stays for the whole run, and plays one side at a time."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import resource
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

__all__ = ["Figures", "Side", "Workers"]

#: What a side has measured, by name.
Figures = dict[str, float]

#: One side of a case: called in a process of its own, so it must be a ``functools.partial`` of a
#: module's function.
Side = Callable[[], Coroutine[Any, Any, Figures]]

# No side takes longer; one whose other side has failed waits for it in vain.
_LONGEST = 120.0
_FILES = 20_000


class Workers:
    """A producer's process, a subscriber's, and a third for what stands between them."""

    def __init__(self, count: int = 3) -> None:
        self._stack = ExitStack()
        context = multiprocessing.get_context("spawn")
        self._pools = [
            self._stack.enter_context(ProcessPoolExecutor(1, context, initializer=_prepare))
            for _ in range(count)
        ]

    def run(self, sides: Sequence[Side]) -> Figures:
        """Play all sides at once; what they have measured, together.

        :raises Exception: what the first side that failed has raised.
        """
        playing = [pool.submit(_play, side) for pool, side in zip(self._pools, sides, strict=False)]
        figures: Figures = {}
        for side in playing:
            figures |= side.result()
        return figures

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()


def _prepare() -> None:
    """A thousand connections take as many files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = _FILES if most == resource.RLIM_INFINITY else min(_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))
    logging.disable(logging.WARNING)


def _play(side: Side) -> Figures:
    gc.collect()
    return asyncio.run(asyncio.wait_for(side(), _LONGEST))
