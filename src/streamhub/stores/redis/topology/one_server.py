"""One server, which has all slots."""

from __future__ import annotations

from collections.abc import Collection

from ..connections.dialer import Server
from ..connections.pipeline import Pipeline
from ..layout.scripts import Script

__all__ = ["OneServer"]


class OneServer:
    """All slots are on one server, or on the one that is its master now."""

    single = True

    def __init__(self, server: Server) -> None:
        self.name = server.name
        self.timeout = server.timeout
        self._server = server

    def commands(self, *, retries: bool, scripts: Collection[Script] = ()) -> Pipeline:
        # Without retries: the writer's, which does them itself.
        return Pipeline(self._server, retries=retries, scripts=scripts, prompt=not retries)

    def slot(self, name: bytes) -> int:
        return 0

    def server(self, slot: int) -> Server:
        return self._server

    def moved(self, slot: int, host: str, port: int) -> None:
        pass

    def doubt(self) -> None:
        pass

    async def refresh(self) -> None:
        pass
