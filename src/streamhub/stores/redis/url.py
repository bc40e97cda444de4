"""Store URLs: which server they mean. Nothing of a password passes from here into any message."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from redis.asyncio.connection import ConnectionPool

from ...errors import InvalidStoreUrl

__all__ = ["parse_url"]

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


def parse_url(url: str) -> ConnectionPool:
    """The pool that redis-py makes of ``url``; nothing is connected.

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
    return pool
