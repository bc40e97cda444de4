"""How connections to one server are made, and what its errors mean."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    InvalidResponse,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
)

from ...errors import (
    SessionCorrupted,
    StoreAuthenticationFailed,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnsupported,
    StreamHubError,
)

__all__ = ["Server"]

# How long a server may take to answer, where its URL or client does not say otherwise.
_TIMEOUT = 5.0


class Server:
    """One server: makes connections to it, and is what errors call it (never with a password)."""

    def __init__(self, pool: ConnectionPool) -> None:
        # A pool of Sentinel's is asked for the master by its connections.
        self._pool = pool
        self._class: type[AbstractConnection] = pool.connection_class
        options = dict(pool.connection_kwargs)
        self.timeout: float = options.get("socket_timeout") or _TIMEOUT
        self.name = _name(options)
        # Replies are bytes and come in order; time-outs and retries are the lane's.
        options.update(
            decode_responses=False,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=options.get("socket_connect_timeout") or self.timeout,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            retry_on_timeout=False,
            health_check_interval=0,
        )
        for option in ("maint_notifications_config", "maint_notifications_pool_handler"):
            options.pop(option, None)
        self._options = options

    @classmethod
    def of(cls, client: Redis) -> Server:
        """:raises TypeError: it is no asyncio client of a single server."""
        if not isinstance(client, Redis):
            kind = f"{type(client).__module__}.{type(client).__qualname__}"
            raise TypeError(f"client must be a redis.asyncio.Redis, not {kind}")
        return cls(client.connection_pool)

    def connection(self) -> Any:
        """A new connection, not yet connected."""
        return self._class(**self._options)

    def error(self, error: BaseException, session_id: str | None = None) -> StreamHubError:
        """What ``error`` means to a user of streamhub."""
        mapped = self._map(error, session_id)
        mapped.__cause__ = error
        return mapped

    def _map(self, error: BaseException, session_id: str | None) -> StreamHubError:
        text = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            return StoreUnavailable(self.name, f"did not answer within {self.timeout:g} s")
        if isinstance(error, InvalidResponse):
            return StoreUnsupported(self.name, f"does not speak the Redis protocol: {text}")
        if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError) or (
            any(sign in text for sign in ("NOAUTH", "WRONGPASS", "The user executing the script"))
        ):
            return StoreAuthenticationFailed(self.name, f"refused the user or its rights: {text}")
        if not isinstance(error, ResponseError):
            return StoreUnavailable(self.name, f"cannot be reached: {text}")
        if isinstance(error, ReadOnlyError) or "READONLY" in text:
            return StoreReadOnly(self.name, f"takes no writes: {text}")
        if "unknown command" in text:
            return StoreUnsupported(self.name, f"lacks a command that is needed: {text}")
        # A key of another type, or a field that a script cannot calculate with.
        if session_id is not None and any(
            sign in text for sign in ("WRONGTYPE", "damaged record", "attempt to")
        ):
            return SessionCorrupted(session_id, text)
        return StoreUnavailable(self.name, f"refused a command: {text}")


def _name(options: dict[str, Any]) -> str:
    if "path" in options:
        return f"unix://{options['path']}"
    host, port, db = (options.get(key) for key in ("host", "port", "db"))
    return f"redis://{host or 'localhost'}:{port or 6379}/{db or 0}"
