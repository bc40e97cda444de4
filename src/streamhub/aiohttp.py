"""Sessions over HTTP for aiohttp's server: ``pip install "streamhub-llm[aiohttp]"``.

::

    from streamhub.aiohttp import StreamResponse, setup

    async def events(request):
        return StreamResponse(hub.get(f"answer:{request.match_info['name']}", wait=5))

    setup(app, hub)
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from typing import Any, Unpack

try:
    from aiohttp import web
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "aiohttp":
        raise
    raise ModuleNotFoundError(
        'streamhub.aiohttp needs aiohttp: pip install "streamhub-llm[aiohttp]"', name="aiohttp"
    ) from None

from .hub import Hub, check_drain
from .serving.asked import Question
from .serving.cancelling import cancel
from .serving.faces import Face, ui_message_face
from .serving.reply import BrokenOff, Found, Reply, check_stream
from .serving.settings import Options, Settings

__all__ = [
    "BrokenOff",
    "Face",
    "StreamResponse",
    "cancel_response",
    "setup",
    "ui_message_face",
]


class StreamResponse(web.StreamResponse):
    """Replays a session after the client's cursor, follows it live, and ends explicitly.

    It answers as :class:`streamhub.http.StreamResponse` does, and takes the same options. Status
    and headers are known once it is prepared, which the server does with what a handler returns;
    all that it sends is sent by then.

    aiohttp tells a handler at once that its client has gone where the server was started with
    ``handler_cancellation=True``; otherwise it is noticed with the next chunk or heartbeat.
    """

    def __init__(self, stream: Found | Awaitable[Found], **options: Unpack[Options]) -> None:
        """
        :raises TypeError: ``stream`` is nothing that a response can follow.
        :raises ValueError: an option is none of what is allowed.
        """
        check_stream(stream)
        super().__init__()
        self._followed = stream
        self._settings = Settings(**options)

    async def prepare(self, request: web.BaseRequest) -> Any:
        if self.prepared:
            return await super().prepare(request)
        reply = await Reply.open(self._followed, _asked(request), self._settings)
        try:
            self.set_status(reply.status_code)
            for name, value in reply.headers:
                self.headers[name] = value
            writer = await super().prepare(request)
            if request.method != "HEAD":
                await self._send(request, reply)
        finally:
            await reply.aclose()
        await self.write_eof()
        return writer

    async def _send(self, request: web.BaseRequest, reply: Reply) -> None:
        async for piece in reply:
            if piece:
                await self.write(piece)
            elif request.transport is None or request.transport.is_closing():
                # It has gone, and there is no heartbeat by which that shows.
                raise BrokenOff


async def cancel_response(
    request: web.BaseRequest,
    stream: Found | Awaitable[Found],
    *,
    wait: float | None = None,
    reason: str | None = None,
    origins: Collection[str] = (),
) -> web.Response:
    """Stop a session's producer, wherever it runs, and tell what status the session has reached:
    202 while that is still to come. 404 for one that is not there.

    :param wait: for so many seconds, for the end.
    :param reason: as for ``LiveStream.cancel``.
    :param origins: of which other sites pages may do that, as ``https://example.org``: where
        a browser adds cookies, those of others are answered with 403.
    """
    answer = await cancel(stream, _asked(request), wait=wait, reason=reason, origins=origins)
    return web.Response(
        body=bytes(answer.body), status=answer.status_code, headers=dict(answer.headers.items())
    )


def setup(app: web.Application, hub: Hub, *, drain: float = 0.0) -> None:
    """Close ``hub`` when ``app`` shuts down: before its open responses, for which the server waits,
    as they follow sessions for as long as those last.

    :param drain: as for ``Hub.aclose``. aiohttp's own ``shutdown_timeout`` begins after it.
    """
    check_drain(drain)

    async def close(app: web.Application) -> None:
        await hub.aclose(drain=drain)

    app.on_shutdown.append(close)


def _asked(request: web.BaseRequest) -> Question:
    # As it came: what aiohttp calls the query string is decoded once, and would be a second time.
    return Question(request.headers.items(), request.rel_url.raw_query_string)
