"""Store URLs: which server they mean. Nothing of a password passes from here into any message."""

from __future__ import annotations

from redis.asyncio.connection import ConnectionPool

from ...errors import InvalidStoreUrl

__all__ = ["parse_url"]

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
        raise InvalidStoreUrl(repr(type(url)), "a URL is text")
    scheme, separator, rest = url.partition("://")
    known = ", ".join(f"{name}://" for name in ("memory", *_SCHEMES))
    if not separator:
        raise InvalidStoreUrl("…", f"it has no scheme; allowed are {known}")
    if scheme.lower() not in _SCHEMES:
        raise InvalidStoreUrl(f"{scheme[:20]}://…", f"unknown scheme; allowed are {known}")
    try:
        pool = ConnectionPool.from_url(f"{_SCHEMES[scheme.lower()]}://{rest}")
    except (ValueError, TypeError) as error:
        # The reason may quote a part of the URL, and with it of the password.
        raise InvalidStoreUrl(
            f"{scheme}://…", f"it is malformed ({type(error).__name__})"
        ) from None
    path = pool.connection_kwargs.get("path")
    if scheme.lower() == "unix" and not path:
        raise InvalidStoreUrl("unix://…", "it names no socket: unix:///path/to/redis.sock")
    return pool
