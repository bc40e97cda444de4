"""The supervisor for threads."""

from __future__ import annotations

from types import TracebackType

from .. import supervisor
from .background import Background

__all__ = ["Supervisor"]


class Supervisor:
    """:class:`streamhub.Supervisor` for threads: runs until ``close``, or until the hub closes."""

    def __init__(self, background: Background, supervisor: supervisor.Supervisor) -> None:
        self._background = background
        self._supervisor = supervisor

    def __repr__(self) -> str:
        return repr(self._supervisor)

    def close(self) -> None:
        """Take over nothing more. What was resumed goes on. Idempotent."""
        self._background.call_last(self._supervisor.aclose)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
