"""Which servers a URL or a client means; nothing here connects."""

from __future__ import annotations

import ssl
from inspect import signature
from pathlib import Path

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import SSLConnection
from redis.asyncio.sentinel import Sentinel

from streamhub import Hub, InvalidStoreUrl
from streamhub.stores.redis import RedisStore
from streamhub.stores.redis.topology.url import of_url

from ..support.certificates import Certificates

PASSWORD = "s3cr3t-pass"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://localhost", "redis://localhost:6379/0"),
        ("redis://", "redis://localhost:6379/0"),
        ("redis://:7000/2", "redis://localhost:7000/2"),
        ("REDISS://h", "rediss://h:6379/0"),
        ("valkeys://u:p@h:7000/3", "valkeys://h:7000/3"),
        ("redis://h?db=3", "redis://h:6379/3"),
        ("redis://h/3?db=3", "redis://h:6379/3"),
        ("redis://[::1]:7000", "redis://[::1]:7000/0"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock"),
        ("unix://u:p@/run/my%20redis.sock", "unix:///run/my redis.sock"),
        ("redis+sentinel://a,b:7,[::1]:8/main", "redis+sentinel://a:26379,b:7,[::1]:8/main/0"),
        ("REDIS+SENTINEL://a/main/2", "redis+sentinel://a:26379/main/2"),
        ("valkey+sentinel://u:p%40@a/my%20main", "valkey+sentinel://a:26379/my main/0"),
        (
            "rediss+sentinel://:p@a/main?sentinel_password=q&sentinel_tls=no",
            "rediss+sentinel://a:26379/main/0",
        ),
        (
            "redis+sentinel://a/main?sentinel_tls=yes&ssl_cert_reqs=none",
            "redis+sentinel://a:26379/main/0",
        ),
        ("valkeys+sentinel://a/main/0?ssl_check_hostname=no", "valkeys+sentinel://a:26379/main/0"),
        ("redis+cluster://a", "redis+cluster://a:6379"),
        ("rediss+cluster://u:p@a,b:7000/0", "rediss+cluster://a:6379,b:7000"),
        ("valkey+cluster://[fe80::1]:7000", "valkey+cluster://[fe80::1]:7000"),
        ("valkeys+cluster://a?socket_timeout=2", "valkeys+cluster://a:6379"),
    ],
)
def test_a_url_names_its_servers(url: str, name: str) -> None:
    """By the scheme that was given, with the default ports where it has none, and never with a
    password."""
    assert f"<Hub {name}>" == repr(Hub.from_url(url))


def test_a_url_of_every_option_is_taken(certificates: Certificates, tmp_path: Path) -> None:
    """Those of TLS too, and those that concern redis-py's own pool and replies."""
    options = {
        "db": "0",
        "client_name": "web-1",
        "socket_timeout": "2.5",
        "socket_connect_timeout": "1",
        "socket_keepalive": "true",
        "socket_read_size": "65536",
        "retry_on_timeout": "False",
        "health_check_interval": "30",
        "max_connections": "10",
        "protocol": "3",
        "decode_responses": "True",
        "encoding": "utf-8",
        "encoding_errors": "strict",
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": "no",
        "ssl_ca_certs": certificates.authority,
        "ssl_certfile": certificates.certificate,
        "ssl_keyfile": certificates.key,
    }
    query = "&".join(f"{name}={value}" for name, value in options.items())
    own = "&sentinel_username=u&sentinel_password=p&sentinel_tls=no"
    for url in (
        f"rediss://h?{query}",
        f"rediss+cluster://h?{query}",
        f"rediss+sentinel://h/main?{query}{own}",
    ):
        assert url.partition("?")[0] in of_url(url).name.replace(":6379", "").replace(":26379", "")


REFUSED = [
    ("redis+sentinel://:{}@a", "/mymaster/0"),
    ("redis+sentinel://:{}@a/", "/mymaster/0"),
    ("redis+sentinel://:{}@a/main/zero", "/mymaster/0"),
    ("redis+sentinel://:{}@a/main/0/1", "/mymaster/0"),
    ("redis+sentinel://:{}@/main", "host:port"),
    ("redis+sentinel://:{}@a,,b/main", "host:port"),
    ("redis+sentinel://:{}@a,b:port/main", "host:port"),
    ("redis+sentinel://a/main?sentinel_password={}&sentinel_tls=maybe", "is 'maybe'; allowed: yes"),
    ("redis+sentinel://a/main?sentinel_pass={}", "option sentinel_pass is unknown; allowed are"),
    ("redis://a?sentinel_password={}", "option sentinel_password is unknown"),
    ("redis+sentinel://:{}@a/main?socket_timeout=soon", "option socket_timeout is 'soon'"),
    ("redis+cluster://:{}@", "host:port"),
    ("redis+cluster://:{}@a,b:0", "host:port"),
    ("redis+cluster://:{}@a:70000", "host:port"),
    ("redis+cluster://:{}@a/1", "one database"),
    ("redis+cluster://:{}@a?db=1", "one database"),
    ("redis+cluster://:{}@a?no_such_option=1", "option no_such_option is unknown; allowed are"),
    ("redis+cluster://:{}@[::1", "brackets"),
    ("redis+ring://:{}@a", "redis+sentinel://, rediss+sentinel://"),
    ("unix+cluster://:{}@a", "unknown scheme"),
    ("redis://:{}@a?no_such_option=1", "option no_such_option is unknown; allowed are client_name"),
    ("redis://a?{}", "an option is unknown"),
    ("redis://:{}@a?DB=1", "option DB is unknown"),
    ("redis://:{}@a?host=b", "option host is unknown"),
    ("redis://:{}@a?retry=1", "option retry is unknown"),
    ("redis://:{}@a?db=one", "option db is 'one'; allowed: the number of a database"),
    ("redis://:{}@a?db=-1", "option db is '-1'"),
    ("redis://:{}@a?db=", "option db is ''"),
    ("redis://:{}@a?db=1&db=2", "option db is given more than once"),
    ("redis://:{}@a/1?db=2", "two databases: /1, and db=2"),
    ("redis://:{}@a?password=x", "its password is given twice"),
    ("redis://:{}@a/one", "the number of a database"),
    ("redis://:{}@a?socket_timeout=0", "option socket_timeout is '0'; allowed: seconds"),
    ("redis://:{}@a?socket_timeout=nan", "option socket_timeout is 'nan'"),
    ("redis://:{}@a?socket_connect_timeout=inf", "option socket_connect_timeout is 'inf'"),
    ("redis://:{}@a?socket_keepalive=perhaps", "is 'perhaps'; allowed: yes or no"),
    ("redis://:{}@a?max_connections=-1", "option max_connections is '-1'"),
    ("redis://:{}@a?protocol=4", "option protocol is '4'; allowed: 2 or 3"),
    ("redis://:{}@a?encoding=morse", "option encoding is 'morse'"),
    ("redis://:{}@a?client_name=two%20words", "option client_name is 'two words'"),
    ("redis://:{}@a?client_name=%ff", "percent-encoded"),
    ("redis://:{}%ff@a", "percent-encoded"),
    ("redis://:{}/@a", "percent-encoded"),
    ("redis://:{}#@a", "%23"),
    ("redis://:{}@a,b", "redis+cluster://"),
    ("redis://:{}@a:0", "host:port"),
    ("redis://:{}@a b", "host:port"),
    ("redis://:{}@a?ssl_cert_reqs=none", "option ssl_cert_reqs is for TLS"),
    ("unix://:{}@/run/a?ssl_cert_reqs=none", "option ssl_cert_reqs is for TLS"),
    ("unix://:{}@", "absolute path"),
    ("unix://:{}@run/redis.sock", "absolute path"),
    ("unix://:{}@/run/%00", "absolute path"),
    (
        "rediss://:{}@a?ssl_cert_reqs=CERT_NONE",
        "option ssl_cert_reqs is 'CERT_NONE'; allowed: none, optional or required",
    ),
    ("rediss+cluster://:{}@a?ssl_cert_reqs=never", "option ssl_cert_reqs is 'never'"),
    ("rediss+sentinel://:{}@a/main?ssl_cert_reqs=never", "option ssl_cert_reqs is 'never'"),
    ("rediss://:{}@a?ssl_check_hostname=2", "option ssl_check_hostname is '2'"),
    ("rediss://:{}@a?ssl_check_hostname=yes&ssl_cert_reqs=none", "ssl_check_hostname is yes"),
    ("rediss://:{}@a?ssl_min_version=1", "option ssl_min_version is '1'; allowed: TLSv1.2"),
    ("rediss://:{}@a?ssl_ca_certs=/no/such.pem", "option ssl_ca_certs is '/no/such.pem'"),
    ("rediss://:{}@a?ssl_ca_path=/no/such", "option ssl_ca_path is '/no/such'"),
    ("rediss://:{}@a?ssl_ca_data=text", "option ssl_ca_data 'text' cannot be used"),
    ("rediss://:{}@a?ssl_keyfile=/dev/null", "option ssl_keyfile is '/dev/null'"),
    ("rediss://a?ssl_password={}", "option ssl_certfile is missing"),
    ("rediss://:{}@a?ssl_include_verify_flags=ALL", "option ssl_include_verify_flags is 'ALL'"),
]


@pytest.mark.parametrize(("url", "reason"), REFUSED)
def test_a_url_that_names_no_servers_says_what_is_allowed(url: str, reason: str) -> None:
    """And which option is wrong, with its value; never a password."""
    with pytest.raises(InvalidStoreUrl) as refused:
        Hub.from_url(url.format(PASSWORD))
    assert reason in str(refused.value)
    assert PASSWORD not in f"{refused.value!s}{refused.value!r}{vars(refused.value)}"


def test_a_file_that_holds_no_certificate_is_named(
    certificates: Certificates, tmp_path: Path
) -> None:
    """Before anything is connected."""
    empty = tmp_path / "empty.pem"
    empty.touch()
    for query, named in (
        (f"ssl_ca_certs={empty}", "ssl_ca_certs"),
        (f"ssl_certfile={empty}&ssl_keyfile={certificates.key}", "ssl_certfile"),
        (f"ssl_certfile={certificates.certificate}&ssl_keyfile={empty}", "ssl_keyfile"),
    ):
        with pytest.raises(InvalidStoreUrl, match=f"{named} '.*' cannot be used"):
            Hub.from_url(f"rediss://h?{query}")


def test_a_client_names_its_servers() -> None:
    """Whichever of redis-py's asyncio clients it is."""
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [("a", 26379), ("b", 7)], sentinel_kwargs={"password": PASSWORD}
    )
    assert [
        "redis://h:7/2",
        "rediss://h:7/0",
        "redis+sentinel://a:26379,b:7/main/1",
        "redis+cluster://h:7",
        "rediss+cluster://h:7",
    ] == [
        repr(RedisStore(client))
        for client in (
            Redis(host="h", port=7, db=2, password=PASSWORD),
            Redis(host="h", port=7, ssl=True),
            sentinel.master_for("main", password=PASSWORD, db=1),
            RedisCluster(host="h", port=7, password=PASSWORD),
            RedisCluster(host="h", port=7, ssl=True),
        )
    ]


def test_a_client_that_may_not_write_is_refused() -> None:
    """Sentinel's replicas are no place for sessions."""
    sentinel = Sentinel([("a", 26379)])  # type: ignore[no-untyped-call]
    with pytest.raises(TypeError, match="master_for"):
        RedisStore(sentinel.slave_for("main"))


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ("redis://h", "RedisStore.from_url"),
        (None, "must be a redis.asyncio.Redis"),
        (BlockingRedis(), "not redis.client.Redis"),
        (Redis(ssl=True, ssl_cert_reqs="CERT_NONE"), "cannot connect: .*CERT_NONE"),
        (Sentinel([]).master_for("main"), "know a Sentinel"),  # type: ignore[no-untyped-call]
    ],
)
def test_what_is_no_client_that_can_serve_is_refused(client: object, reason: str) -> None:
    """At once, not when the first session is claimed."""
    with pytest.raises(TypeError, match=reason):
        RedisStore(client)  # type: ignore[arg-type]


@pytest.mark.skipif(
    "ssl_min_version" not in signature(SSLConnection).parameters, reason="redis-py lacks it"
)
def test_a_version_of_tls_may_be_named() -> None:
    """As OpenSSL writes it, or by the number that redis-py takes."""
    number = int(ssl.TLSVersion.TLSv1_3)
    assert "rediss://h:6379/0" == of_url(f"rediss://h?ssl_min_version={number}").name
    assert "rediss://h:6379/0" == of_url("rediss://h?ssl_min_version=TLSv1.3").name
