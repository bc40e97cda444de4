"""Puts the demo together: where the sessions are, who produces, the web server, in this order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import uvicorn

from streamhub import Hub
from streamhub.stores.memory import MemoryStore
from streamhub.testing import CannotRun, PrivateRedis

from .answer import Model
from .model_server import MODEL, model_app
from .processes import ProcessProducers
from .producers import CONFIG, Producers, TaskProducers
from .web import Site

__all__ = ["Running", "staged"]


@dataclass(frozen=True)
class Running:
    """A demo that runs."""

    url: str
    #: What the page shows of how it runs.
    about: dict[str, Any]


@contextlib.asynccontextmanager
async def staged(
    listener: socket.socket,
    *,
    redis_url: str | None = None,
    memory: bool = False,
    model: Model | None = None,
    pace: float,
) -> AsyncIterator[Running]:
    """Run the demo on a socket that listens already.

    :param redis_url: where the sessions are; without, in a Redis of the demo's own if there is
        one on the PATH, else in memory.
    :param memory: in memory in any case.
    :param model: whom to ask; without, the server that comes with the demo.
    :param pace: how many tokens a second that server speaks.
    :raises StoreUnavailable: ``redis_url`` leads to no Redis.
    :raises CannotStart: no producer process comes up.
    """
    host, port = listener.getsockname()
    url = f"http://{host}:{port}/"
    about: dict[str, Any] = {
        "web": os.getpid(),
        "lease": CONFIG.lease,
        "redis": None,
        "private": False,
        "note": None,
    }
    built_in = model is None
    if model is None:
        model = Model(url=f"{url}v1", name=MODEL)
    about["model"] = {"name": model.name, "url": model.shown_url, "built_in": built_in}
    async with AsyncExitStack() as stack:
        if redis_url is None and not memory:
            redis_url = await _own_redis(stack, about)
        producers: Producers
        if redis_url is None:
            store = MemoryStore()
            hub = Hub(store, config=CONFIG)
            producers = TaskProducers(store, model)
        else:
            about["redis"] = about["redis"] or {"url": _without_login(redis_url), "pid": None}
            hub = Hub.from_url(redis_url, config=CONFIG)
            producers = ProcessProducers(redis_url, model)
        await stack.enter_async_context(hub)
        await hub.get("demo:reachable:1")
        about["crash"] = producers.crash_kind
        model_api = model_app(pace=pace) if built_in else None
        site = Site(hub, producers, about, model_api=model_api)
        await stack.enter_async_context(_served(site, listener))
        # Whoever asks the model that is served here ends before that server does.
        stack.push_async_callback(producers.aclose)
        if isinstance(producers, ProcessProducers):
            await producers.start()
        yield Running(url, about)


async def _own_redis(stack: AsyncExitStack, about: dict[str, Any]) -> str | None:
    """The URL of a Redis that ends with the demo, if one can be had."""
    shown: dict[str, Any] = {}
    try:
        own = await stack.enter_async_context(
            PrivateRedis(on_start=lambda pid: shown.update(pid=pid))
        )
    except CannotRun as error:
        about["note"] = str(error)
        return None
    about["private"] = True
    about["redis"] = shown
    shown["url"] = own.url
    return own.url


@contextlib.asynccontextmanager
async def _served(site: Site, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        site.app,
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="demo web server")
    try:
        yield
    finally:
        site.connections.cut_all()
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """Leaves the signals to who runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the web server is not about a connection that was cut on purpose."""
    return "without completing response" not in record.getMessage()


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
