"""Which servers a URL or a client means; nothing here connects."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel

from streamhub import Hub, InvalidStoreUrl
from streamhub.stores.redis import RedisStore

PASSWORD = "s3cr3t-pass"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://localhost", "redis://localhost:6379/0"),
        ("valkeys://u:p@h:7000/3", "redis://h:7000/3"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock"),
        ("redis+sentinel://a,b:7,[::1]:8/main", "redis+sentinel://a:26379,b:7,[::1]:8/main/0"),
        ("REDIS+SENTINEL://a/main/2", "redis+sentinel://a:26379/main/2"),
        ("valkey+sentinel://u:p%40@a/my%20main", "redis+sentinel://a:26379/my main/0"),
        (
            "rediss+sentinel://:p@a/main?sentinel_password=q&sentinel_tls=no",
            "redis+sentinel://a:26379/main/0",
        ),
        ("valkeys+sentinel://a/main/0?ssl_check_hostname=no", "redis+sentinel://a:26379/main/0"),
        ("redis+cluster://a", "redis+cluster://a:6379"),
        ("rediss+cluster://u:p@a,b:7000/0", "redis+cluster://a:6379,b:7000"),
        ("valkey+cluster://[fe80::1]:7000", "redis+cluster://[fe80::1]:7000"),
        ("valkeys+cluster://a?socket_timeout=2", "redis+cluster://a:6379"),
    ],
)
def test_a_url_names_its_servers(url: str, name: str) -> None:
    """With the default ports where it has none, and never with a password."""
    assert f"<Hub {name}>" == repr(Hub.from_url(url))


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("redis+sentinel://:{}@a", "/mymaster/0"),
        ("redis+sentinel://:{}@a/", "/mymaster/0"),
        ("redis+sentinel://:{}@a/main/zero", "/mymaster/0"),
        ("redis+sentinel://:{}@a/main/0/1", "/mymaster/0"),
        ("redis+sentinel://:{}@/main", "host:port"),
        ("redis+sentinel://:{}@a,,b/main", "host:port"),
        ("redis+sentinel://:{}@a,b:port/main", "host:port"),
        ("redis+sentinel://a/main?sentinel_password={}&sentinel_tls=maybe", "yes or no"),
        ("redis+sentinel://a/main?sentinel_pass={}", "malformed"),
        ("redis+sentinel://:{}@a/main?socket_timeout=soon", "malformed"),
        ("redis+cluster://:{}@", "host:port"),
        ("redis+cluster://:{}@a,b:0", "host:port"),
        ("redis+cluster://:{}@a:70000", "host:port"),
        ("redis+cluster://:{}@a/1", "one database"),
        ("redis+cluster://:{}@a?db=1", "one database"),
        ("redis+cluster://:{}@a?no_such_option=1", "malformed"),
        ("redis+cluster://:{}@[::1", "malformed"),
        ("redis+ring://:{}@a", "redis+sentinel://, valkey+sentinel://"),
        ("unix+cluster://:{}@a", "unknown scheme"),
    ],
)
def test_a_url_that_names_no_servers_says_what_is_allowed(rest: str, reason: str) -> None:
    """And never its password."""
    with pytest.raises(InvalidStoreUrl) as refused:
        Hub.from_url(rest.format(PASSWORD))
    assert reason in str(refused.value)
    assert PASSWORD not in f"{refused.value!s}{refused.value!r}{vars(refused.value)}"


def test_a_client_names_its_servers() -> None:
    """Whichever of redis-py's asyncio clients it is."""
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [("a", 26379), ("b", 7)], sentinel_kwargs={"password": PASSWORD}
    )
    assert [
        "redis://h:7/2",
        "redis+sentinel://a:26379,b:7/main/1",
        "redis+cluster://h:7",
    ] == [
        repr(RedisStore(client))
        for client in (
            Redis(host="h", port=7, db=2, password=PASSWORD),
            sentinel.master_for("main", password=PASSWORD, db=1),
            RedisCluster(host="h", port=7, password=PASSWORD),
        )
    ]


def test_a_client_that_may_not_write_is_refused() -> None:
    """Sentinel's replicas are no place for sessions."""
    sentinel = Sentinel([("a", 26379)])  # type: ignore[no-untyped-call]
    with pytest.raises(TypeError, match="master_for"):
        RedisStore(sentinel.slave_for("main"))
