"""The streams of a hub over HTTP: what there is, what comes, and how one stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ...chunks import Status
from ...errors import ProducerFailed, ProducerLost, StreamHubError, StreamReplaced
from ...formats.durable_messages import ErrorText
from ...formats.durable_streams import Offset, was_told_of_end
from ...formats.endings import ending_of, told_of
from ...serving.disconnects import ClientGone, unless_gone
from ...stream import LiveStream
from ..authorization import Authorize, is_allowed, outlast, patience_for
from ..late_hub import HubOf, hub_of
from ..problems import NOT_STORED, BadRequest, Problem, not_found, nothing, problem_of, response_of
from .address import query_of
from .asked import Asked, asked_of
from .headers import SAFE, etag_of, has_etag, headers_of, standing_headers
from .live import LiveResponse
from .reader import Page, Reader
from .rendered import Rendered

__all__ = ["DurableStreams"]

# How large a body is at the most, and what is said at once of a stream that is followed, in bytes;
# or as large as a chunk.
_PAGE = 256 * 1024
_LIVE_PAGE = 64 * 1024


class DurableStreams:
    """See :func:`streamhub.http.durable_streams_routes` for the parameters.

    :param session_of: the session that a request's path names.
    """

    def __init__(
        self,
        hub: HubOf,
        *,
        authorize: Authorize | None,
        session_of: Callable[[Request], str],
        shape: str,
        public: bool,
        long_poll: float,
        heartbeat: float,
        error_text: ErrorText | None,
    ) -> None:
        self._hub_of = hub_of(hub)
        self._authorize = authorize
        self._session_of = session_of
        self._shape = shape
        self._public = public
        self._long_poll = long_poll
        self._heartbeat = heartbeat
        self._error_text = error_text
        self._rendered = Rendered()

    async def answer(self, request: Request) -> Response:
        """Whatever is asked of a stream."""
        try:
            response = await self._answer(request)
        except (ClientDisconnect, ClientGone):
            response = nothing()
        except BadRequest as error:
            response = response_of(error.problem)
        except StreamHubError as error:
            response = self._refusal(error)
        for name, value in SAFE.items():
            response.headers.setdefault(name, value)
        return response

    async def _answer(self, request: Request) -> Response:
        asked = asked_of(request, self._shape)
        session_id = self._session_of(request)
        hub, began = self._hub_of(request), asyncio.get_running_loop().time()
        # In this order: what is not there all may look for, and is somebody's a moment later.
        stream = await unless_gone(request.receive, hub.get(session_id, after=asked.held))
        allowed = await is_allowed(self._authorize, request, session_id, "read")
        if stream is None:
            return not_found()
        if not allowed:
            patience = patience_for(hub, asked.held)
            await unless_gone(request.receive, outlast(began, patience))
            return not_found()
        if asked.stream_id not in (None, stream.stream_id):
            return _replaced(stream, asked)
        if request.method == "HEAD":
            return await self._head(stream, asked)
        reader = Reader(
            stream,
            asked.shape,
            self._rendered,
            after=asked.after,
            error_text=self._error_text,
            most=_LIVE_PAGE if asked.live == "sse" else _PAGE,
            patience=self._hub_of(request).config.lease,
        )
        handed_on = False
        try:
            page = await unless_gone(request.receive, self._page(reader, asked))
            if asked.live != "sse":
                return self._paged(request, reader, page, asked)
            handed_on = True
            return LiveResponse(reader, page, asked, self._heartbeat)
        except StreamReplaced:
            latest = await self._hub_of(request).get(session_id)
            moved = latest is not None and latest.stream_id != stream.stream_id
            if moved and asked.stream_id is None and not isinstance(asked.after, Offset):
                # Begun anew since it was looked for, and asked for by who has nothing of either.
                return await self._answer(request)
            return _replaced(latest, asked)
        finally:
            if not handed_on:
                await reader.aclose()

    async def _page(self, reader: Reader, asked: Asked) -> Page:
        await reader.open()
        page = await reader.stored(patient=asked.live is not None or asked.after != "now")
        if asked.live != "long-poll":
            return page
        until = asyncio.get_running_loop().time() + self._long_poll
        while not (page.messages or page.closed):
            try:
                async with asyncio.timeout_at(until):
                    await reader.wait()
            except TimeoutError:
                return reader.waiting
            page = await reader.refreshed()
        if page.closed and not page.messages and was_told_of_end(asked.cursor):
            # There are clients that never stop asking.
            await asyncio.sleep(self._long_poll)
        return page

    def _paged(self, request: Request, reader: Reader, page: Page, asked: Asked) -> Response:
        headers = headers_of(page, reader.info, asked, public=self._public)
        if asked.live is not None and not page.messages:
            del headers["content-type"]
            return Response(status_code=204, headers=headers)
        if asked.after != "now":
            headers["etag"] = etag = etag_of(page, reader.info, asked)
            if has_etag(request, etag):
                return Response(status_code=304, headers=headers)
        return Response(asked.shape.body(page.messages), headers=headers)

    async def _head(self, stream: LiveStream, asked: Asked) -> Response:
        info = await stream.info()
        if asked.stream_id not in (None, info.stream_id):
            return _replaced(stream, asked)
        closed = info.status in (Status.FINISHED, Status.CANCELLED)
        closed = closed or (info.status is Status.FAILED and asked.shape.stateful)
        after = Offset(info.last, ended=closed and asked.shape.stateful)
        headers = standing_headers(info, asked.shape, tail=after, closed=closed)
        response = Response(headers={**headers, **NOT_STORED})
        # It is not that of a body.
        del response.headers["content-length"]
        return response

    def _refusal(self, error: StreamHubError) -> Response:
        if not isinstance(error, ProducerFailed | ProducerLost):
            return problem_of(error)
        status, reason = ending_of(error)
        tell = self._error_text
        told = told_of(status) if tell is None else tell(status, reason)
        # Clients come again upon a 5xx, and give up upon a 4xx; a closed stream they would take for
        # a whole one.
        return Problem(424, f"producer_{status}", told)


def _replaced(stream: LiveStream | None, asked: Asked) -> Response:
    """To who asks for what the session's stream does not have any more."""
    headers = {}
    if stream is not None:
        headers["link"] = f'<{query_of(stream.stream_id, asked.shape.name)}>; rel="latest-version"'
    detail = "the session has another stream now, or this one has lost what was read of it"
    return Problem(410, "stream_replaced", detail, headers)
