"""Store URLs: which servers they mean. No password gets from here into a message."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError

from ....errors import InvalidStoreUrl
from .client import cluster_of, master_of, server_of
from .cluster import Address, Cluster
from .one_server import OneServer
from .topology import Topology
from .url_options import Malformed, check_tls, read_options

__all__ = ["SCHEMES", "of_url"]

_DATABASE = re.compile(r"/?[0-9]{0,9}")
_HOST = re.compile(r"(\[[0-9a-f:.%]+\]|[^\[\]:@/\s\x00]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_REDIS_PORT, _SENTINEL_PORT = 6379, 26379

# Valkey speaks the same protocol; its own names for the schemes are what its users write.
_PLAIN = ("redis", "valkey", "rediss", "valkeys")
_WITH_TLS = ("rediss", "valkeys")
SCHEMES = (
    *_PLAIN,
    "unix",
    *(f"{name}+{kind}" for kind in ("sentinel", "cluster") for name in _PLAIN),
)


def of_url(url: str) -> Topology:
    """Where ``url`` leads; nothing is connected.

    :raises InvalidStoreUrl: it has another scheme, or is malformed.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise InvalidStoreUrl("…", f"its scheme is none of Redis; allowed are {known}")
    base, _, kind = scheme.partition("+")
    try:
        if "#" in rest:
            raise Malformed("it holds a #, which is written %23")
        try:
            parts = urlsplit(f"redis://{rest}")
            # It is told here, and not by a part of the URL, if brackets do not match.
            parts.hostname  # noqa: B018
        except ValueError:
            raise Malformed("the brackets of its address do not match: [::1]:6379") from None
        match kind:
            case "sentinel":
                return _sentinel(scheme, base in _WITH_TLS, parts)
            case "cluster":
                return _cluster(scheme, base in _WITH_TLS, parts)
        if base == "unix":
            return _socket(parts)
        return _server(scheme, base in _WITH_TLS, parts)
    except Malformed as error:
        raise InvalidStoreUrl(f"{scheme}://…", str(error)) from None
    except (RedisError, TypeError, ValueError) as error:
        # The reason may quote a part of the URL, and with it of the password.
        reason = f"the installed redis-py does not take it ({type(error).__name__})"
        raise InvalidStoreUrl(f"{scheme}://…", reason) from None


class _Login(NamedTuple):
    username: str | None
    password: str | None

    def put(self, options: dict[str, Any]) -> None:
        for name, value in self._asdict().items():
            if value and name in options:
                raise Malformed(f"its {name} is given twice: before the host, and as an option")
            if value:
                options[name] = value


def _server(scheme: str, tls: bool, parts: SplitResult) -> OneServer:
    login, listed = _login(parts)
    # What is left out is this machine, and the usual port.
    found = re.fullmatch(r"(.*?)(:[0-9]*)?", listed)
    assert found is not None
    host = found[1] or "localhost"
    hosts = _hosts(f"{host}{found[2] or ''}".removesuffix(":"), _REDIS_PORT)
    if len(hosts) > 1:
        raise Malformed(
            "it names several hosts; those of a cluster are redis+cluster://, and Sentinels "
            "redis+sentinel://"
        )
    if not _DATABASE.fullmatch(parts.path):
        raise Malformed("the path is the number of a database: /0")
    options = read_options(parts.query, tls=tls)
    _put_database(options, parts.path.removeprefix("/"))
    login.put(options)
    options["host"], options["port"] = hosts[0]
    kind = SSLConnection if tls else Connection
    _check(kind, options)
    return server_of(kind, options, scheme=scheme)


def _socket(parts: SplitResult) -> OneServer:
    login, host = _login(parts)
    path = _decoded(parts.path)
    if host or not path or not path.isprintable():
        raise Malformed("it names no socket by an absolute path: unix:///path/to/redis.sock")
    options = read_options(parts.query, tls=False)
    options.pop("socket_keepalive", None)
    login.put(options)
    options["path"] = path
    _check(UnixDomainSocketConnection, options)
    return server_of(UnixDomainSocketConnection, options)


def _sentinel(scheme: str, tls: bool, parts: SplitResult) -> OneServer:
    login, listed = _login(parts)
    hosts = _hosts(listed, _SENTINEL_PORT)
    service, _, db = parts.path.removeprefix("/").partition("/")
    if not service or db.startswith("/") or not _DATABASE.fullmatch(db):
        raise Malformed(
            "the path is what the Sentinels call the master, and the number of a database: "
            "/mymaster/0"
        )
    options = read_options(parts.query, tls=tls, sentinel=True)
    own = {
        name: options.pop(f"sentinel_{name}", default)
        for name, default in (("username", None), ("password", None), ("tls", tls))
    }
    _put_database(options, db)
    login.put(options)
    for_sentinels = {
        name: value
        for name, value in options.items()
        if name not in ("username", "password", "db") and (own["tls"] or not _is_tls(name))
    }
    for_sentinels |= {"username": own["username"], "password": own["password"]}
    if not tls:
        options = {name: value for name, value in options.items() if not _is_tls(name)}
    kind, sentinel_kind = (SSLConnection if one else Connection for one in (tls, own["tls"]))
    _check(kind, options)
    _check(sentinel_kind, for_sentinels)
    sentinels = [
        (sentinel_kind, {**for_sentinels, "host": host, "port": port}) for host, port in hosts
    ]
    return master_of(kind, options, sentinels, _decoded(service), scheme=scheme)


def _cluster(scheme: str, tls: bool, parts: SplitResult) -> Cluster:
    login, listed = _login(parts)
    hosts = _hosts(listed, _REDIS_PORT)
    if parts.path not in ("", "/", "/0"):
        raise Malformed("a cluster has one database and no other path: /0, or nothing")
    options = read_options(parts.query, tls=tls)
    if options.pop("db", 0):
        raise Malformed("a cluster has one database: db=0, or nothing")
    login.put(options)
    kind = SSLConnection if tls else Connection
    _check(kind, options)
    return cluster_of(kind, options, hosts, scheme=scheme)


def _login(parts: SplitResult) -> tuple[_Login, str]:
    """Who logs in, and what stands behind: the hosts."""
    written, _, listed = parts.netloc.rpartition("@")
    username, _, password = written.partition(":")
    return _Login(_decoded(username) or None, _decoded(password) or None), listed


def _hosts(listed: str, port: int) -> list[Address]:
    hosts = []
    for one in listed.split(","):
        found = _HOST.fullmatch(one)
        if found is None or int(found[2] or port) not in range(1, 65536):
            raise Malformed(
                "its hosts are one or more of host or host:port, with commas between; in a user "
                "or password the characters / ? # @ and : are percent-encoded"
            )
        hosts.append((_decoded(found[1].strip("[]")), int(found[2] or port)))
    return hosts


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Malformed("it is no percent-encoded UTF-8") from None


def _put_database(options: dict[str, Any], path: str) -> None:
    if path and options.setdefault("db", int(path)) != int(path):
        raise Malformed(f"it names two databases: /{int(path)}, and db={options['db']}")


def _check(kind: type[Any], options: Mapping[str, Any]) -> None:
    """That connections can be made so; this makes none."""
    if issubclass(kind, SSLConnection):
        check_tls(options, inspect.signature(kind).parameters)


def _is_tls(name: str) -> bool:
    return name.startswith("ssl_")
