"""How connections to a server are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from redis import __version__ as redis_version
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError

from ....errors import StreamHubError
from ....instruments import events
from ....instruments.events import Tell
from .errors import explained

__all__ = ["MOVED_AWAY", "Dialer", "Server", "disconnect", "shown"]

# How long a server may take to answer, where its URL or client does not say otherwise.
_TIMEOUT = 5.0
#: Why a connection is broken off that is to a server which its name means no more.
MOVED_AWAY = "the name leads to another server now"
# What belongs to a client of redis-py, and to no connection that is not in its pool.
_POOLED = (
    "connection_class",
    "connection_pool",
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "max_connections",
    "response_callbacks",
)


class Dialer:
    """Opens connections with the credentials, TLS settings and time-outs of a redis-py client.

    :raises RedisError, TypeError, ValueError: connections do not take these options.
    """

    def __init__(self, kind: type[AbstractConnection], options: Mapping[str, Any]) -> None:
        self.kind = kind
        #: Tells of the connections to its servers; None where nobody wants to know.
        self.tell: Tell | None = None
        self.timeout: float = options.get("socket_timeout") or _TIMEOUT
        # Replies are bytes and come in order; time-outs and retries are the pipeline's.
        self.options: dict[str, Any] = {
            **{name: value for name, value in options.items() if name not in _POOLED},
            "decode_responses": False,
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": options.get("socket_connect_timeout") or self.timeout,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_error": [],
            "retry_on_timeout": False,
            "health_check_interval": 0,
        }
        # Connections of a class of the user's may take no such option, or have a name of their own.
        own = {"driver_info", "lib_name", "lib_version"} & {*options}
        if kind.__module__.startswith("redis.") and _driver_info() and not own:
            self.options["driver_info"] = _driver_info()
        # What a connection does not take it says when it is made, long before it is connected.
        kind(**self.options)

    async def dial(self, **address: object) -> Any:
        """A new connection, connected and logged in.

        :raises RedisError, OSError: it cannot be had.
        """
        connection: Any = self.kind(**{**self.options, **address})
        try:
            await connection.connect()
            if not hasattr(getattr(connection._writer, "transport", None), "set_protocol"):
                raise InvalidResponse(f"{self.kind.__name__} is no connection over a socket")
        except BaseException:
            await disconnect(connection)
            raise
        return connection


class Server:
    """One server; ``name`` is what errors call it, never with a password."""

    def __init__(self, name: str, dialer: Dialer, **address: Any) -> None:
        self.name = name
        self.timeout: float = dialer.timeout
        self._dialer = dialer
        self.address = address
        self._on_move: dict[Callable[[], None], None] = {}
        #: What there was a connection for before.
        self._met: set[str] = set()

    def __repr__(self) -> str:
        return self.name

    async def connect(self) -> Any:
        """:raises RedisError, OSError: it cannot be reached, or refuses the user."""
        return await self._dialer.dial(**self.address)

    def on_move(self, leave: Callable[[], None]) -> None:
        """Have ``leave`` called when the name turns out to mean another server than before."""
        self._on_move[leave] = None

    def discard_on_move(self, leave: Callable[[], None]) -> None:
        self._on_move.pop(leave, None)

    def leave(self) -> None:
        """The name means another server: break off all that is open to this one."""
        for leave in list(self._on_move):
            leave()

    def instrument(self, tell: Tell) -> None:
        self._dialer.tell = tell

    def connected(self, purpose: str, seconds: float) -> None:
        """A connection that is to be kept was opened, which took so long."""
        again = purpose in self._met
        self._met.add(purpose)
        if (tell := self._dialer.tell) is not None:
            tell(events.Connected(server=self.name, purpose=purpose, again=again, seconds=seconds))

    def disconnected(self, purpose: str, error: BaseException) -> None:
        """It was lost, or left for another one."""
        if (tell := self._dialer.tell) is not None:
            tell(events.Disconnected(server=self.name, purpose=purpose, reason=str(error)))

    def error(self, error: BaseException) -> StreamHubError:
        return explained(error, self.name, self.timeout)


@cache
def _driver_info() -> Any:
    """What redis-py (since 7.2) calls itself; None before. Without it each connection gathers that
    anew from the files of the installation, which takes longer than all else of connecting."""
    try:
        from redis.driver_info import DriverInfo
    except ImportError:
        return None
    return DriverInfo(lib_version=redis_version)


def shown(host: str, port: int) -> str:
    """An address as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def disconnect(connection: Any) -> None:
    """Close it without a wait; one that is broken already is closed too."""
    with suppress(RedisError, OSError):
        await connection.disconnect(nowait=True)
