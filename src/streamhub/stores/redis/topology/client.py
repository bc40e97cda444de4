"""Clients of redis-py: which servers they mean. Nothing is connected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import RedisError

from ..connections.dialer import Dialer, Server, shown
from .cluster import Address, Cluster
from .named_server import NamedServer
from .one_server import OneServer
from .sentinel import Master
from .topology import Topology

__all__ = ["cluster_of", "master_of", "of_client", "server_of"]

_REDIS_PORT = 6379


def of_client(client: object) -> Topology:
    """:raises TypeError: it is no asyncio client of redis-py, or one that leads to no primary."""
    if isinstance(client, str):
        raise TypeError("client must be a redis.asyncio.Redis; of a URL it is RedisStore.from_url")
    if not isinstance(client, Redis | RedisCluster):
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise TypeError(
            f"client must be a redis.asyncio.Redis or a redis.asyncio.RedisCluster, not {kind}"
        )
    pool = None if isinstance(client, RedisCluster) else client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        _check_sentinels(pool)
    try:
        if isinstance(client, RedisCluster):
            return _of_cluster_client(client)
        pool = client.connection_pool
        if isinstance(pool, SentinelConnectionPool):
            return _of_sentinel_pool(pool)
        return server_of(pool.connection_class, pool.connection_kwargs)
    except (RedisError, TypeError, ValueError) as error:
        raise TypeError(f"client cannot connect: {error}") from error


def server_of(
    kind: type[Any], options: Mapping[str, Any], *, scheme: str | None = None
) -> OneServer:
    if "path" in options:
        name = f"unix://{options['path']}"
    else:
        host, port, db = (options.get(key) for key in ("host", "port", "db"))
        address = shown(host or "localhost", port or _REDIS_PORT)
        name = f"{scheme or _scheme(kind)}://{address}/{db or 0}"
    return OneServer(NamedServer(name, Dialer(kind, options)))


def master_of(
    kind: type[Any],
    options: Mapping[str, Any],
    sentinels: Sequence[tuple[type[Any], Mapping[str, Any]]],
    service: str,
    *,
    scheme: str | None = None,
) -> OneServer:
    servers = []
    for sentinel_kind, sentinel_options in sentinels:
        host, port = sentinel_options["host"], sentinel_options["port"]
        dialer = Dialer(sentinel_kind, {**sentinel_options, "db": 0})
        servers.append(Server(shown(host, port), dialer, host=host, port=port))
    hosts = ",".join(map(str, servers))
    scheme = scheme or f"{_scheme(kind)}+sentinel"
    name = f"{scheme}://{hosts}/{service}/{options.get('db') or 0}"
    return OneServer(Master(name, Dialer(kind, options), sentinels=servers, service=service))


def cluster_of(
    kind: type[Any],
    options: Mapping[str, Any],
    seeds: list[Address],
    remap: Any = None,
    *,
    scheme: str | None = None,
) -> Cluster:
    scheme = scheme or f"{_scheme(kind)}+cluster"
    name = f"{scheme}://{','.join(shown(*seed) for seed in seeds)}"
    dialer = Dialer(kind, options)
    node_scheme = scheme.removesuffix("+cluster")
    if remap:
        return Cluster(name, dialer, seeds, remap, node_scheme=node_scheme)
    return Cluster(name, dialer, seeds, node_scheme=node_scheme)


def _scheme(kind: type[Any]) -> str:
    return "rediss" if issubclass(kind, SSLConnection) else "redis"


def _check_sentinels(pool: SentinelConnectionPool) -> None:
    if not pool.is_master:
        raise TypeError("client must be one of the master: Sentinel.master_for(…)")
    if not pool.sentinel_manager.sentinels:
        raise TypeError("client must know a Sentinel: Sentinel([(host, port), …]).master_for(…)")


def _of_sentinel_pool(pool: SentinelConnectionPool) -> OneServer:
    sentinels = [
        (sentinel.connection_pool.connection_class, sentinel.connection_pool.connection_kwargs)
        for sentinel in pool.sentinel_manager.sentinels
    ]
    kind = SSLConnection if issubclass(pool.connection_class, SSLConnection) else Connection
    return master_of(kind, pool.connection_kwargs, sentinels, pool.service_name)


def _of_cluster_client(client: RedisCluster) -> Cluster:
    options = dict(client.connection_kwargs)
    # A client that reads from replicas has them answer what we ask of primaries alone.
    options.pop("redis_connect_func", None)
    manager = client.nodes_manager
    nodes = [*manager.startup_nodes.values(), *manager.nodes_cache.values()]
    seeds = list(dict.fromkeys((node.host, int(node.port)) for node in nodes))
    remap = getattr(manager, "address_remap", None)
    return cluster_of(options.get("connection_class", Connection), options, seeds, remap)
