"""Store URLs and clients: which server they mean. No password gets from here into a message."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool

from ...errors import InvalidStoreUrl
from .connection import Dialer, Server
from .topology import OneServer, Topology

__all__ = ["of_client", "of_url"]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}", re.IGNORECASE)
_DATABASE = re.compile(r"/?[0-9]*")

# Valkey speaks the same protocol; its own names for the schemes are what its users write.
_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
}


def of_client(client: object) -> Topology:
    """:raises TypeError: it is no asyncio client of redis-py."""
    if not isinstance(client, Redis):
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise TypeError(f"client must be a redis.asyncio.Redis, not {kind}")
    return _one_server(client.connection_pool)


def of_url(url: str) -> Topology:
    """Where ``url`` leads; nothing is connected.

    :raises InvalidStoreUrl: it has another scheme, or is malformed.
    """
    if not isinstance(url, str):
        raise InvalidStoreUrl(type(url).__name__, "a URL is text")
    scheme, separator, rest = url.partition("://")
    known = ", ".join(f"{name}://" for name in ("memory", *_SCHEMES))
    if not separator or not _SCHEME.fullmatch(scheme):
        raise InvalidStoreUrl("…", f"it does not begin with a scheme; allowed are {known}")
    if scheme.lower() not in _SCHEMES:
        raise InvalidStoreUrl(f"{scheme}://…", f"unknown scheme; allowed are {known}")
    scheme = scheme.lower()
    try:
        pool = ConnectionPool.from_url(f"{_SCHEMES[scheme]}://{rest}")
        # An option that no connection takes is noticed only by making one; it does not connect.
        pool.connection_class(**pool.connection_kwargs)
        if scheme != "unix" and not _DATABASE.fullmatch(urlsplit(url).path):
            raise InvalidStoreUrl(f"{scheme}://…", "the path is the number of a database: /0")
    except (ValueError, TypeError) as error:
        if isinstance(error, InvalidStoreUrl):
            raise
        # The reason may quote a part of the URL, and with it of the password.
        reason = f"it is malformed ({type(error).__name__})"
        raise InvalidStoreUrl(f"{scheme}://…", reason) from None
    path = pool.connection_kwargs.get("path")
    if scheme == "unix" and not path:
        raise InvalidStoreUrl("unix://…", "it names no socket: unix:///path/to/redis.sock")
    return _one_server(pool)


def _one_server(pool: ConnectionPool) -> OneServer:
    options = pool.connection_kwargs
    if "path" in options:
        name = f"unix://{options['path']}"
    else:
        host, port, db = (options.get(key) for key in ("host", "port", "db"))
        name = f"redis://{host or 'localhost'}:{port or 6379}/{db or 0}"
    return OneServer(Server(name, Dialer(pool.connection_class, options)))
