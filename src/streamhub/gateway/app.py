"""The gateway as an application: all that is under ``/v1``, to serve or to mount."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..errors import StreamHubError
from ..hub import Hub
from ..serving.disconnects import ClientGone
from .chat.routes import chat_routes
from .context import Gateway
from .errors import GatewayError, error_of, response_of
from .keys import Keys
from .limits import Limits
from .passing import METHODS, PassedOn
from .places import Places
from .responses.recovering import Recovery
from .responses.routes import ResponsesRoutes
from .responses.speaking import ResponsesApi, Speaks
from .responses.translating import ChatApi, EitherApi
from .upstream import Upstream

__all__ = ["UpstreamApi", "create_gateway"]

UpstreamApi: TypeAlias = Literal["auto", "responses", "chat"]


def create_gateway(
    hub: Hub,
    *,
    upstream: str,
    api_key: str | Collection[str] | None = None,
    upstream_key: str | None = None,
    detach: bool = False,
    retry_lost: bool = False,
    upstream_api: UpstreamApi = "auto",
    limits: Limits | None = None,
    proxy: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Starlette:
    """An API that speaks as OpenAI does, behind a gateway whose answers are sessions of ``hub``:
    they survive their client, its network, and the gateway. Mount it, or serve it; the hub is yours
    to close.

    :param upstream: the API, as SDKs take it for ``base_url``: ``https://api.example.org/v1``.
    :param api_key: the gateway's own keys, of which clients send one. Without it every client is
        served, its ``Authorization`` goes upstream, and is stored nowhere: what it has asked for is
        kept under a hash of it, and there for nobody else.
    :param upstream_key: what goes upstream in the place of the gateway's own keys.
    :param detach: whether a streamed answer goes on where its client leaves. Without it only those
        in the background do.
    :param retry_lost: whether an answer whose gateway was killed is asked for once more, from its
        start, where the upstream cannot go on with it.
    :param upstream_api: what the upstream speaks: ``responses``, or ``chat`` for one that speaks
        Chat Completions alone, to which the Responses API is translated. ``auto`` finds out by the
        first answers, and tells an upstream that keeps no responses what was said before.
    :param proxy: the URL of an HTTP proxy through which the upstream is reached, with its name and
        password if it has one. Those that the environment names are not used.
    :param tls: with which certificates the upstream is believed, and what is shown to it. Without
        it those of the system are, or of the file that ``SSL_CERT_FILE`` names.
    :raises ValueError: a value is none of what is allowed.
    """
    if not isinstance(hub, Hub):
        raise TypeError(f"hub must be a Hub, not {type(hub).__name__}")
    limits = limits or Limits()
    gateway = Gateway(
        hub=hub,
        upstream=Upstream(upstream, limits, proxy=proxy, tls=tls),
        keys=Keys(api_key, upstream_key),
        limits=limits,
        places=Places(limits.max_answers_per_key),
        detach=detach,
        retry_lost=retry_lost,
    )

    async def pass_on(request: Request) -> Response:
        return PassedOn(gateway, request)

    async def health(request: Request) -> Response:
        # Any question will do: what counts is that the store answers.
        await hub.active(["health"])
        return Response(b'{"status":"ok"}', media_type="application/json")

    speaks = _speaks(upstream_api, gateway)
    recovery = Recovery(gateway, speaks)
    routes: list[BaseRoute] = [
        *ResponsesRoutes(gateway, speaks, recovery).routes,
        *chat_routes(gateway, pass_on),
        # What none of these before answers.
        Route("/v1/{path:path}", pass_on, methods=METHODS),
        # For load balancers: 200 while the store answers, else 503.
        Route("/health", health, methods=["GET"]),
    ]

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        try:
            recovery.begin()
            yield
        finally:
            await recovery.aclose()
            await gateway.upstream.aclose()

    app = Starlette(
        routes=routes,
        lifespan=life,
        exception_handlers={
            GatewayError: _on_gateway_error,
            StreamHubError: _on_hub_error,
            HTTPException: _on_http_exception,
            ClientDisconnect: _on_gone,
            ClientGone: _on_gone,
            Exception: _on_bug,
        },
    )
    app.router.redirect_slashes = False
    return app


def _speaks(upstream_api: str, gateway: Gateway) -> Speaks:
    match upstream_api:
        case "auto":
            return EitherApi(gateway.upstream, gateway.hub)
        case "responses":
            return ResponsesApi(gateway.upstream)
        case "chat":
            return ChatApi(gateway.upstream, gateway.hub)
    raise ValueError(f"upstream_api must be auto, responses or chat, not {upstream_api!r:.100}")


async def _on_gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return response_of(error)


async def _on_hub_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StreamHubError)
    return response_of(error_of(error))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = error.detail.lower().replace(" ", "_")
    told = f"{request.method} {request.url.path}: {error.detail}"
    return response_of(GatewayError(error.status_code, code, told, headers=error.headers))


async def _on_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=204)


async def _on_bug(request: Request, error: Exception) -> Response:
    return response_of(GatewayError(500, "gateway_error", "the gateway failed"))
