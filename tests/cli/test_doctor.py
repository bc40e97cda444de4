"""``streamhub doctor`` on real servers, set up in many ways, and on answers that none gives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis.asyncio

import streamhub.stores.redis
from streamhub import StoreUnavailable
from streamhub.stores.feeds import FeedInfo
from streamhub.stores.redis import RedisStore
from streamhub.stores.redis.checkup import Finding, Level, check_up, judge_feeds
from streamhub.stores.redis.checkup.findings import Facts
from streamhub.stores.redis.checkup.judging import judge
from streamhub.stores.redis.checkup.rights import needed
from streamhub.stores.redis.layout.keys import Keys

from ..support.cli_process import cli, start_on_terminal
from ..support.redis_cluster import RedisCluster
from ..support.redis_sentinel import Watched
from ..support.redis_server import RedisServer

MakeRedis = Callable[..., RedisServer]
TOPOLOGIES = (Path(__file__).parents[2] / "docs" / "topologies.md").read_text()
PASSWORD = "pa55-w0rd-of-mine"
SUBJECTS = {
    *("reach", "version", "role", "rights", "memory", "persistence", "replication"),
    *("live", "clients", "network", "clock"),
}


@pytest.fixture
def own_cluster() -> Iterator[RedisCluster]:
    """A cluster of three to be harmed."""
    with RedisCluster(3) as cluster:
        yield cluster


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A master, its replica, and Sentinels that watch them."""
    with Watched() as watched:
        yield watched


async def findings(url: str) -> dict[str, Finding]:
    """The gravest finding on each subject."""
    gravest: dict[str, Finding] = {}
    order = list(Level)
    for finding in (await check_up(url)).findings:
        before = gravest.get(finding.subject)
        if before is None or order.index(before.level) < order.index(finding.level):
            gravest[finding.subject] = finding
    return gravest


async def test_a_plain_server_has_no_problem(redis_url: str) -> None:
    """Every subject is spoken of, and nothing is left behind."""
    found = await findings(redis_url)

    assert set(found) == SUBJECTS
    assert {Level.OK, Level.NOTE} >= {finding.level for finding in found.values()}
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert 0 == await client.dbsize()


LRU, TTL = "allkeys-lru", "volatile-ttl"
MISCONFIGURED = {
    "evicts": (["--maxmemory", "50mb", "--maxmemory-policy", LRU], "memory", "warning", LRU),
    "evicts what expires": (
        ["--maxmemory", "50mb", "--maxmemory-policy", TTL],
        *("memory", "warning", "every key of streamhub has a TTL (G11)"),
    ),
    "refuses when full": (["--maxmemory", "50mb"], "memory", "ok", "noeviction"),
    "has no limit": ([], "memory", "note", "no maxmemory"),
    "does not save": ([], "persistence", "note", "a restart loses all data"),
    "saves snapshots": (["--save", "900 1"], "persistence", "note", "snapshots only"),
    "appends": (["--appendonly", "yes"], "persistence", "ok", "about the last second"),
    "appends always": (
        ["--appendonly", "yes", "--appendfsync", "always"],
        *("persistence", "ok", "loses nothing"),
    ),
    "cuts off early": (
        ["--client-output-buffer-limit", "pubsub 100kb 50kb 60"],
        *("live", "warning", "102,400 bytes"),
    ),
    "never cuts off": (
        ["--client-output-buffer-limit", "pubsub 0 0 0"],
        *("live", "note", "fills the server's memory"),
    ),
    "wants replicas": (
        ["--min-replicas-to-write", "1"],
        *("replication", "problem", "every write is refused"),
    ),
    "closes idle clients": (["--timeout", "30"], "network", "note", "timeout 30"),
    "keeps dead clients": (["--tcp-keepalive", "0"], "network", "note", "machines that are gone"),
    "is of a cluster": (
        ["--cluster-enabled", "yes"],
        *("cluster", "problem", "redis+cluster://host:port"),
    ),
    "hides its configuration": (
        ["--rename-command", "CONFIG", ""],
        *("live", "note", "the server does not tell"),
    ),
    "hides itself": (
        ["--rename-command", "INFO", ""],
        *("version", "note", "the server does not tell"),
    ),
    "hides where a name leads": (
        ["--rename-command", "INFO", ""],
        *("rights", "warning", "+info"),
    ),
}


@pytest.mark.parametrize("case", MISCONFIGURED)
async def test_what_a_setting_means(make_redis: MakeRedis, case: str) -> None:
    """Each is found, with how grave it is and what it means."""
    arguments, subject, level, words = MISCONFIGURED[case]
    found = await findings(make_redis(arguments=arguments).url)

    assert level == found[subject].level
    assert words in " ".join((found[subject].found, found[subject].meaning, found[subject].advice))


async def test_a_replica_is_a_problem_and_its_primary_is_told_of_it(make_redis: MakeRedis) -> None:
    """A replica takes no writes; a primary that has one may lose what it acknowledged."""
    primary = make_redis()
    replica = make_redis(replica_of=primary)

    assert Level.PROBLEM is (await findings(replica.url))["role"].level
    replication = (await findings(primary.url))["replication"]
    assert "asynchronous" in replication.meaning or "behind" in replication.found


async def test_who_cannot_be_reached_raises(make_redis: MakeRedis) -> None:
    """No server, or a wrong password: there is nothing to find."""
    server = make_redis(password=PASSWORD)
    with pytest.raises(StoreUnavailable, match="refused the user") as caught:
        await check_up(server.url.replace(PASSWORD, "another"))
    assert PASSWORD not in str(caught.value)
    server.stop()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await check_up(server.url)


async def user(server: RedisServer, *rules: str) -> str:
    """The URL of a user with these rights."""
    client: Any = redis.asyncio.Redis.from_url(server.url)
    async with client:
        await client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", *rules)
    return server.url.replace("redis://", "redis://app:pw@")


ALL = ("~streamhub:*", "&streamhub:*", "+@all")
REFUSED = {
    "a command": ((*ALL, "-xadd"), {"XADD"}, "+xadd"),
    "two commands": ((*ALL, "-evalsha", "-scan"), {"EVALSHA", "SCAN"}, "+evalsha +scan"),
    "channels": (("~streamhub:*", "+@all"), {"PUBLISH"}, "'&streamhub:*'"),
    "keys": (("&streamhub:*", "+@all"), {"HMGET", "XADD"}, "'~streamhub:*'"),
    "other keys": (("~other:*", "&streamhub:*", "+@all"), {"HMGET"}, "'~streamhub:*'"),
}


@pytest.mark.parametrize("asks", [True, False], ids=["opinion", "trial"])
@pytest.mark.parametrize("case", REFUSED)
async def test_missing_rights_are_named(make_redis: MakeRedis, case: str, asks: bool) -> None:
    """By the opinion of a server that gives one, and else by trying: which commands, and the rule
    that grants them."""
    rules, expected, rule = REFUSED[case]
    server = make_redis()
    url = await user(server, *rules, *(() if asks else ("-acl",)))
    rights = (await findings(url))["rights"]

    assert Level.PROBLEM is rights.level
    assert expected <= set(rights.found.partition("not: ")[2].split(", "))
    assert rule in rights.advice
    async with redis.asyncio.Redis.from_url(server.url) as client:
        assert 0 == await client.dbsize()


@pytest.mark.slow
@pytest.mark.parametrize("asks", [True, False], ids=["opinion", "trial"])
async def test_the_documented_rights_are_enough(make_redis: MakeRedis, asks: bool) -> None:
    """A user of the line in the documentation is told that nothing is missing, and the session
    from end to end works."""
    (line,) = re.findall(r"^ACL SETUSER streamhub on >PASSWORD (.*)$", TOPOLOGIES, re.MULTILINE)
    url = await user(make_redis(), *line.split(), *(["+acl"] if asks else []))

    assert Level.OK is (await findings(url))["rights"].level
    ended = await cli("doctor", url=url)
    assert 0 == ended.code, ended.out + ended.err


@pytest.mark.parametrize(
    ("feed", "level", "said"),
    [
        (FeedInfo("save", 30.0, 2, 10.0), Level.OK, "'save' is read; 2 streams are overdue"),
        (FeedInfo("save", 30.0, 2, 90.0), Level.WARNING, "the oldest by 90 s"),
        (FeedInfo("save", 7200.0, 0, 0.0), Level.WARNING, "nobody has read it for 2 hours"),
        (FeedInfo(":supervise", 7200.0, 0, 0.0), Level.WARNING, "supervisor ':supervise'"),
    ],
)
def test_a_feed_that_nobody_reads_is_warned_of(feed: FeedInfo, level: Level, said: str) -> None:
    """And one whose workers do not keep up: what it waits for takes memory."""
    (finding,) = judge_feeds([feed])

    assert level is finding.level
    assert said in finding.found


async def test_feeds_are_examined(redis_url: str) -> None:
    """Those that the store knows; a server without any has nothing to say of them."""
    told = json.loads((await cli("doctor", "--json", url=redis_url)).out)["findings"]
    assert [] == [one for one in told if one["subject"] == "feeds"]
    store = RedisStore.from_url(redis_url)
    await store.feeds.open("save", unsaved=60.0)
    await store.aclose()
    ended = await cli("doctor", "--json", url=redis_url)
    (finding,) = [one for one in json.loads(ended.out)["findings"] if one["subject"] == "feeds"]

    assert ("ok", 0) == (finding["level"], ended.code)
    assert "'save'" in finding["found"]


def test_every_command_of_the_scripts_is_asked_about() -> None:
    """What the scripts call is among what a user is examined for."""
    folder = files(streamhub.stores.redis) / "layout" / "lua"
    called = {
        name
        for file in folder.iterdir()
        for name in re.findall(r"call\('([A-Z]+)'", file.read_text())
    }
    keys = Keys.of("streamhub:", "a")

    assert {"XADD", "PEXPIRE", "HSET"} <= called
    assert set() == called - {str(one[0]) for one in needed(keys, "streamhub:", sharded=True)}


@pytest.mark.slow
async def test_every_primary_of_a_cluster_is_examined(cluster_url: str) -> None:
    """Each says of itself how it is, and carries a session of its own from end to end."""
    ended = await cli("doctor", "--json", url=cluster_url)
    told = json.loads(ended.out)["findings"]
    servers = {finding["server"] for finding in told}

    assert 0 == ended.code, ended.out
    assert 3 == len(servers)
    for subject in (*SUBJECTS, "cluster", "self-test"):
        assert servers == {one["server"] for one in told if one["subject"] == subject}, subject


@pytest.mark.slow
async def test_a_cluster_that_has_lost_a_node_has_a_problem(own_cluster: RedisCluster) -> None:
    """The node that is gone is named, the others tell of themselves all the same."""
    own_cluster.primaries[2].kill()
    found = (await check_up(own_cluster.url)).findings
    ended = await cli("doctor", url=own_cluster.url)

    assert 2 == len([one for one in found if one.subject == "role" and one.level is Level.OK])
    assert any(one.level is Level.PROBLEM and one.subject == "reach" for one in found)
    assert 1 == ended.code


@pytest.mark.slow
async def test_the_master_that_sentinels_name_is_examined(watched: Watched) -> None:
    """As a server of its own, with its replicas."""
    ended = await cli("doctor", "--json", url=watched.url)
    told = {one["subject"]: one for one in json.loads(ended.out)["findings"]}

    assert 0 == ended.code, ended.out
    assert ("is a primary", "ok") == (told["role"]["found"], told["self-test"]["level"])


@pytest.mark.slow
async def test_a_line_for_each_finding(redis_url: str) -> None:
    """Without a terminal: how grave, of what, and in plain words; a session from end to end too."""
    ended = await cli("doctor", url=redis_url)
    lines = [line.split(maxsplit=2) for line in ended.out.splitlines()]

    assert (0, "") == (ended.code, ended.err)
    assert {*SUBJECTS, "self-test"} == {line[1] for line in lines}
    assert set(Level) >= {line[0] for line in lines}
    assert re.match(r"claimed in [\d.]+ ms, stored .* read live .* cancelled .*", lines[-1][2])


@pytest.mark.slow
async def test_problems_have_an_exit_code_and_passwords_stay_secret(make_redis: MakeRedis) -> None:
    """1 for problems, 7 for a server that is not there; no password in any of it."""
    server = make_redis(password=PASSWORD, arguments=["--min-replicas-to-write", "1"])
    for form in ([], ["--json"]):
        ended = await cli("doctor", *form, url=server.url)
        assert 1 == ended.code
        assert PASSWORD not in ended.out + ended.err
        assert "every write is refused" in ended.out
    server.stop()
    ended = await cli("doctor", url=server.url)
    assert (7, "") == (ended.code, ended.out)
    assert PASSWORD not in ended.err


@pytest.mark.slow
async def test_live_messages_that_cannot_be_heard_are_noticed(make_redis: MakeRedis) -> None:
    """A user who may publish and not subscribe has readers that poll: the self-test sees it."""
    url = await user(make_redis(), *ALL, "-acl", "-subscribe")
    ended = await cli("doctor", "--json", url=url)
    told = {one["subject"]: one for one in json.loads(ended.out)["findings"]}

    assert 1 == ended.code
    assert "problem" == told["self-test"]["level"]


@pytest.mark.slow
async def test_a_table_on_a_terminal(redis_url: str) -> None:
    """In colour, with the meaning below what was found."""
    async with start_on_terminal("doctor", url=redis_url) as terminal:
        code = await terminal.code()

    assert 0 == code
    assert "self-test" in terminal.screen
    assert "\x1b[" in terminal.screen


FINE = Facts(
    latency=0.0002,
    is_node=False,
    info={
        "redis_version": "7.2.4",
        "maxmemory": "1000",
        "maxmemory_policy": "noeviction",
        "used_memory": "1",
        "aof_enabled": "1",
        "connected_slaves": "0",
        "connected_clients": "1",
        "maxclients": "10",
    },
    config={"client-output-buffer-limit": "pubsub 33554432 8388608 60", "timeout": "0"},
    role="master",
    cluster=None,
    nodes=None,
    ahead=0.1,
    user="default",
    key_prefix="streamhub:",
    refused={},
)
LAGGING = {
    "connected_slaves": "1",
    "slave0": "ip=10.0.0.2,port=6379,state=online,offset=1,lag=9",
    "master_repl_offset": "9000000",
}
NODES = {"10.0.0.1:6379": "master", "10.0.0.2:6379": "slave,fail"}
UNCOVERED = {"cluster_state": "fail", "cluster_slots_ok": "16000", "cluster_size": "3"}
ODD: dict[str, tuple[dict[str, Any], str, Level, str]] = {
    "slow": ({"latency": 0.02}, "reach", Level.NOTE, "nearer"),
    "very slow": ({"latency": 0.2}, "reach", Level.WARNING, "nearer"),
    "too old": ({"info": {"redis_version": "6.0.16"}}, "version", Level.PROBLEM, "6.2"),
    "old node": (
        {"info": {"redis_version": "6.2.1"}, "is_node": True},
        *("version", Level.NOTE, "sharded"),
    ),
    "valkey": (
        {"info": {"redis_version": "7.2.4", "valkey_version": "8.0.1"}},
        *("version", Level.OK, "Valkey 8.0.1"),
    ),
    "another": (
        {"info": {"redis_version": "7.2.0", "dragonfly_version": "df-v1"}},
        *("version", Level.WARNING, "never tested"),
    ),
    "loading": ({"info": {"loading": "1"}}, "role", Level.WARNING, "loading"),
    "cannot save": (
        {"info": {"rdb_last_bgsave_status": "err"}},
        *("persistence", Level.PROBLEM, "refuses writes"),
    ),
    "nearly full": ({"info": {"used_memory": "950"}}, "memory", Level.WARNING, "95%"),
    "has evicted": ({"info": {"evicted_keys": "12"}}, "memory", Level.WARNING, "12 keys"),
    "few left": ({"info": {"connected_clients": "10"}}, "clients", Level.WARNING, "10 of 10"),
    "replica behind": ({"info": LAGGING}, "replication", Level.WARNING, "bytes behind"),
    "clocks apart": ({"ahead": -90.0}, "clock", Level.NOTE, "90.0 s behind"),
    "uncovered": (
        {"is_node": True, "cluster": UNCOVERED},
        *("cluster", Level.PROBLEM, "16000 of 16384"),
    ),
    "failing node": (
        {"is_node": True, "cluster": UNCOVERED, "nodes": NODES},
        *("cluster", Level.WARNING, "10.0.0.2:6379"),
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_what_an_answer_means(case: str) -> None:
    """Each is found, with how grave it is and what it means."""
    changes, subject, level, words = ODD[case]
    info = {**(FINE.info or {}), **changes.get("info", {})}
    facts = msgspec.structs.replace(FINE, **{**changes, "info": info})

    assert any(
        words in " ".join((one.found, one.meaning, one.advice))
        for one in judge(facts, "redis://x")
        if (one.subject, one.level) == (subject, level)
    )


def test_nothing_is_said_of_a_server_in_order() -> None:
    """No warning and no problem where there is none."""
    assert {Level.OK, Level.NOTE} >= {one.level for one in judge(FINE, "redis://x")}
