"""Store URLs and clients: which servers they mean. No password gets from here into a message."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.asyncio.sentinel import SentinelConnectionPool

from ....errors import InvalidStoreUrl
from ..connections.dialer import Dialer, Server, shown
from .cluster import Address, Cluster
from .one_server import OneServer
from .sentinel import Master
from .topology import Topology

__all__ = ["of_client", "of_url"]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}", re.IGNORECASE)
_DATABASE = re.compile(r"/?[0-9]*")
_HOST = re.compile(r"(\[[0-9a-f:.%]+\]|[^\[\]:@/\s]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_REDIS_PORT, _SENTINEL_PORT = 6379, 26379
_OF_SENTINELS = ("sentinel_username", "sentinel_password", "sentinel_tls")

# Valkey speaks the same protocol; its own names for the schemes are what its users write.
_PLAIN = {"redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss"}
_SCHEMES = (
    *_PLAIN,
    "unix",
    *(f"{name}+{kind}" for kind in ("sentinel", "cluster") for name in _PLAIN),
)


# -- clients ---------------------------------------------------------------------------------


def of_client(client: object) -> Topology:
    """:raises TypeError: it is no asyncio client of redis-py, or one of Sentinel's replicas."""
    if isinstance(client, RedisCluster):
        return _of_cluster_client(client)
    if not isinstance(client, Redis):
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise TypeError(
            f"client must be a redis.asyncio.Redis or a redis.asyncio.RedisCluster, not {kind}"
        )
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        return _of_sentinel_pool(pool)
    return _one_server(pool)


def _one_server(pool: ConnectionPool) -> OneServer:
    options = pool.connection_kwargs
    if "path" in options:
        name = f"unix://{options['path']}"
    else:
        host, port, db = (options.get(key) for key in ("host", "port", "db"))
        name = f"redis://{shown(host or 'localhost', port or _REDIS_PORT)}/{db or 0}"
    return OneServer(Server(name, Dialer(pool.connection_class, options)))


def _of_sentinel_pool(pool: SentinelConnectionPool) -> OneServer:
    if not pool.is_master:
        raise TypeError("client must be one of the master: Sentinel.master_for(…)")
    sentinels = [
        (sentinel.connection_pool.connection_class, sentinel.connection_pool.connection_kwargs)
        for sentinel in pool.sentinel_manager.sentinels
    ]
    kind = SSLConnection if issubclass(pool.connection_class, SSLConnection) else Connection
    return _sentinel(kind, pool.connection_kwargs, sentinels, pool.service_name)


def _sentinel(
    kind: type[Any],
    options: Mapping[str, Any],
    sentinels: Sequence[tuple[type[Any], Mapping[str, Any]]],
    service: str,
) -> OneServer:
    servers = []
    for sentinel_kind, sentinel_options in sentinels:
        host, port = sentinel_options["host"], sentinel_options["port"]
        dialer = Dialer(sentinel_kind, {**sentinel_options, "db": 0})
        servers.append(Server(shown(host, port), dialer, host=host, port=port))
    name = f"redis+sentinel://{','.join(map(str, servers))}/{service}/{options.get('db') or 0}"
    return OneServer(Master(name, Dialer(kind, options), sentinels=servers, service=service))


def _of_cluster_client(client: RedisCluster) -> Cluster:
    options = dict(client.connection_kwargs)
    # A client that reads from replicas has them answer what we ask of primaries alone.
    options.pop("redis_connect_func", None)
    manager = client.nodes_manager
    nodes = [*manager.startup_nodes.values(), *manager.nodes_cache.values()]
    seeds = list(dict.fromkeys((node.host, int(node.port)) for node in nodes))
    remap = getattr(manager, "address_remap", None)
    return _cluster(options.get("connection_class", Connection), options, seeds, remap)


def _cluster(
    kind: type[Any], options: Mapping[str, Any], seeds: list[Address], remap: Any = None
) -> Cluster:
    name = f"redis+cluster://{','.join(shown(*seed) for seed in seeds)}"
    dialer = Dialer(kind, options)
    return Cluster(name, dialer, seeds, remap) if remap else Cluster(name, dialer, seeds)


# -- URLs ------------------------------------------------------------------------------------


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
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        raise InvalidStoreUrl(f"{scheme}://…", f"unknown scheme; allowed are {known}")
    base, _, kind = scheme.partition("+")
    base = _PLAIN.get(base, base)
    try:
        match kind:
            case "sentinel":
                return _sentinel_of(base, rest)
            case "cluster":
                return _cluster_of(base, rest)
        return _server_of(base, rest)
    except _Malformed as error:
        raise InvalidStoreUrl(f"{scheme}://…", str(error)) from None
    except (ValueError, TypeError, AttributeError) as error:
        # The reason may quote a part of the URL, and with it of the password.
        reason = f"it is malformed ({type(error).__name__})"
        raise InvalidStoreUrl(f"{scheme}://…", reason) from None


class _Malformed(Exception):
    """Why a URL cannot be used, in words that quote nothing of it."""


def _server_of(base: str, rest: str) -> OneServer:
    pool = _pool(base, rest)
    if base != "unix" and not _DATABASE.fullmatch(urlsplit(f"{base}://{rest}").path):
        raise _Malformed("the path is the number of a database: /0")
    if base == "unix" and not pool.connection_kwargs.get("path"):
        raise _Malformed("it names no socket: unix:///path/to/redis.sock")
    return _one_server(pool)


def _sentinel_of(base: str, rest: str) -> OneServer:
    parts = urlsplit(f"{base}://{rest}")
    login, hosts = _hosts(parts.netloc, _SENTINEL_PORT)
    service, _, db = parts.path.removeprefix("/").partition("/")
    if not service or not _DATABASE.fullmatch(db):
        raise _Malformed(
            "the path is what the Sentinels call the master, and the number of a database: "
            "/mymaster/0"
        )
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    own = {name: query.pop(name) for name in _OF_SENTINELS if name in query}
    pool = _pool(base, f"{login}localhost/{db or 0}?{urlencode(query)}")
    options = pool.connection_kwargs
    with_tls = _is_yes(own["sentinel_tls"]) if "sentinel_tls" in own else base == "rediss"
    for_sentinels = {
        name: value
        for name, value in options.items()
        if name not in ("username", "password", "db") and (with_tls or not name.startswith("ssl_"))
    }
    for_sentinels["username"] = own.get("sentinel_username")
    for_sentinels["password"] = own.get("sentinel_password")
    kind: type[Any] = SSLConnection if with_tls else Connection
    sentinels = [(kind, {**for_sentinels, "host": host, "port": port}) for host, port in hosts]
    return _sentinel(pool.connection_class, options, sentinels, unquote(service))


def _cluster_of(base: str, rest: str) -> Cluster:
    parts = urlsplit(f"{base}://{rest}")
    login, hosts = _hosts(parts.netloc, _REDIS_PORT)
    if parts.path not in ("", "/", "/0"):
        raise _Malformed("a cluster has one database and no other path: /0, or nothing")
    pool = _pool(base, f"{login}localhost/0?{parts.query}")
    if pool.connection_kwargs.get("db"):
        raise _Malformed("a cluster has one database: db=0, or nothing")
    return _cluster(pool.connection_class, pool.connection_kwargs, hosts)


def _pool(base: str, rest: str) -> ConnectionPool:
    pool = ConnectionPool.from_url(f"{base}://{rest}")
    # An option that no connection takes is noticed only by making one; it does not connect.
    pool.connection_class(**pool.connection_kwargs)
    return pool


def _hosts(netloc: str, port: int) -> tuple[str, list[Address]]:
    """The login, as it stands in front of the hosts, and the hosts."""
    login, at, listed = netloc.rpartition("@")
    hosts = []
    for one in listed.split(","):
        found = _HOST.fullmatch(one)
        if found is None or int(found[2] or port) not in range(1, 65536):
            raise _Malformed("its hosts are one or more of host or host:port, with commas between")
        hosts.append((found[1].strip("[]"), int(found[2] or port)))
    return login + at, hosts


def _is_yes(text: str) -> bool:
    if text.lower() not in ("yes", "no", "true", "false", "1", "0"):
        raise _Malformed("sentinel_tls is yes or no")
    return text.lower() in ("yes", "true", "1")
