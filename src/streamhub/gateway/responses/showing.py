"""An answer as a response to a client, and what its leaving means."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from starlette.responses import Response

from ...errors import HubClosed, StreamHubError
from ..context import Gateway
from ..events_response import EventsResponse
from ..keys import Caller
from .following import Following
from .recovering import Recovery
from .stored import Stored
from .telling import Telling

__all__ = ["Showing", "json_response", "telling_of"]

logger: logging.Logger = logging.getLogger("streamhub")


class Showing:
    def __init__(self, gateway: Gateway, recovery: Recovery) -> None:
        self._hub = gateway.hub
        self._detach = gateway.detach
        self._recovery = recovery

    def stream(
        self,
        stored: Stored,
        caller: Caller,
        *,
        after: int | None = None,
        obfuscation: bool = True,
        stays: bool = True,
        stop: Callable[[], object] = lambda: None,
    ) -> Response:
        """
        :param stop: closes the upstream's request, where the store is away.
        :param after: the number after which the client goes on.
        :param stays: whether the answer goes on where the client leaves.
        """

        async def recover(stored: Stored) -> None:
            await self._recovery.recover(stored, caller.headers)

        async def forget() -> None:
            if not stored.facts.store:
                await self.forget(stored)

        async def left() -> None:
            if not stays and not pieces.over:
                await self.leave(stored, stop)

        telling = telling_of(stored, obfuscation=obfuscation)
        pieces = Following(stored, telling, after=after, recover=recover, on_close=forget)
        return EventsResponse(pieces, on_left=left)

    async def whole(self, stored: Stored) -> Response:
        """The Response object, as it stands."""
        log = await stored.log()
        return json_response(telling_of(log.stored).response(log.response()))

    async def leave(self, stored: Stored, stop: Callable[[], object]) -> None:
        """The client of an answer in the foreground has gone."""
        try:
            if not stored.facts.store:
                await self._hub.remove(stored.stream.session_id)
            elif not self._detach:
                await stored.stream.cancel(reason="its client has left")
        except HubClosed:
            # Which stops all that is under way.
            return
        except StreamHubError as error:
            logger.warning("an answer without its client is stopped here alone: %s", error)
            stop()

    async def forget(self, stored: Stored) -> None:
        with suppress(StreamHubError):
            await self._hub.remove(stored.stream.session_id)


def telling_of(stored: Stored, *, obfuscation: bool = True) -> Telling:
    return Telling(stored.response_id, stored.facts, obfuscation=obfuscation)


def json_response(body: bytes) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(body, headers=headers, media_type="application/json")
