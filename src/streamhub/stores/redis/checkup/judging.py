"""What a server's answers mean for the guarantees, and what to do about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from .findings import Facts, Finding, Level

__all__ = ["judge"]

_OLDEST, _SHARDED = (6, 2), (7, 0)
_SLOW, _VERY_SLOW = 0.005, 0.05
#: The largest live message: a batch of chunks, or one chunk of max_chunk_bytes.
_MESSAGE = 1024 * 1024
_MANY_CLIENTS = 0.9
_FULL = 0.9
_CLOCKS_APART = 5.0
_MB = 1024 * 1024

_OK, _NOTE, _WARNING, _PROBLEM = Level.OK, Level.NOTE, Level.WARNING, Level.PROBLEM
_Words = tuple[Level, str, str, str]


def judge(facts: Facts, server: str) -> list[Finding]:
    """One finding or more on every subject."""
    return [
        Finding(
            level=level, subject=subject, found=found, meaning=meaning, advice=advice, server=server
        )
        for subject, check in _CHECKS.items()
        for level, found, meaning, advice in check(facts)
    ]


def _unknown(meaning: str = "") -> _Words:
    return _NOTE, "unknown, the server does not tell", meaning, ""


def _reach(facts: Facts) -> Iterator[_Words]:
    took = f"answers in {facts.latency * 1000:.2f} ms (the median of several)"
    waits = "publish does not wait for it; register, flush, close and cancel take it at least once"
    if facts.latency < _SLOW:
        yield _OK, took, waits, ""
    elif facts.latency < _VERY_SLOW:
        yield _NOTE, took, waits, "run it nearer to the application"
    else:
        yield _WARNING, took, waits, "run it nearer to the application, or find what slows it"


def _version(facts: Facts) -> Iterator[_Words]:
    told = facts.text("redis_version")
    numbers = re.match(r"(\d+)\.(\d+)", told or "")
    if told is None or numbers is None:
        yield _unknown("Redis 6.2 or Valkey 7.2 is the oldest that can work")
        return
    name, version = "Redis", (int(numbers[1]), int(numbers[2]))
    for field, other in (("valkey_version", "Valkey"), ("dragonfly_version", "Dragonfly")):
        if (own := facts.text(field)) is not None:
            name, told = other, own
    found = f"{name} {told}"
    if version < _OLDEST:
        yield _PROBLEM, found, "its scripts lack commands: nothing works", "take Redis 6.2 or later"
    elif version < _SHARDED and facts.is_node:
        meaning = "no sharded Pub/Sub before 7.0: every node carries every live message"
        yield _NOTE, found, meaning, "take Redis 7.0 or later for a cluster"
    elif name not in ("Redis", "Valkey"):
        yield _WARNING, found, "streamhub was never tested with it", "run the self-test, and watch"
    else:
        yield _OK, found, "", ""


def _role(facts: Facts) -> Iterator[_Words]:
    if facts.text("loading") == "1":
        meaning = "it refuses everything until its data is loaded; producers keep their chunks (G5)"
        yield _WARNING, "is still loading its data", meaning, "wait"
    if facts.role is None:
        yield _unknown()
    elif facts.role == "master":
        yield _OK, "is a primary", "", ""
    else:
        meaning = "a replica takes no writes: nobody can register, publish or cancel (G5)"
        advice = "name its primary, or the Sentinels: redis+sentinel://host/service"
        yield _PROBLEM, f"is a {facts.role.replace('slave', 'replica')}", meaning, advice


_LIVING = "a stream whose producer lives is put back by it (G7)"


def _persistence(facts: Facts) -> Iterator[_Words]:
    if (
        facts.text("aof_last_write_status") == "err"
        or facts.text("rdb_last_bgsave_status") == "err"
    ):
        meaning = "Redis refuses writes while it cannot save; producers wait and retry (G5)"
        yield _PROBLEM, "the last save failed", meaning, "look at its disk and its log"
    aof, save = facts.text("aof_enabled"), facts.config.get("save")
    if aof is None:
        yield _unknown("what a restart loses is what Redis had not saved")
    elif aof == "1":
        sync = facts.config.get("appendfsync", "everysec")
        lost = {"always": "nothing", "no": "what the system had not written yet"}
        meaning = f"a restart loses {lost.get(sync, 'about the last second')}; {_LIVING}"
        yield _OK, f"append-only file, appendfsync {sync}", meaning, ""
    elif save:
        meaning = (
            f"a restart loses what came after the last snapshot; {_LIVING}, and ended sessions, "
            "or those whose producer died too, fall back to it or are gone"
        )
        advice = "appendonly yes, where answers must outlive a restart"
        yield _NOTE, f"snapshots only (save {save})", meaning, advice
    else:
        meaning = (
            f"a restart loses all data; {_LIVING}, and readers of the others get SessionNotFound, "
            "never a false end (G4)"
        )
        how = "no append-only file, " + ("snapshots unknown" if save is None else "no snapshots")
        advice = "appendonly yes, where answers must outlive a restart"
        yield _NOTE, how, meaning, advice


def _memory(facts: Facts) -> Iterator[_Words]:
    limit, policy = facts.number("maxmemory"), facts.text("maxmemory_policy")
    used = facts.number("used_memory")
    if limit is None or policy is None:
        yield _unknown("with any policy but noeviction, a full Redis drops sessions")
        return
    if not limit:
        meaning = "nothing is evicted; a machine without memory kills Redis, which is a restart"
        yield _NOTE, f"no maxmemory (policy {policy})", meaning, "set maxmemory, with noeviction"
    elif policy == "noeviction":
        meaning = (
            "a full Redis refuses writes; producers wait and retry for give_up_after, and nothing "
            "is lost without an error (G5)"
        )
        yield _OK, f"maxmemory {limit / _MB:,.0f} MB, noeviction", meaning, ""
    else:
        meaning = (
            "every key of streamhub has a TTL (G11), so that a full Redis evicts sessions under "
            f"this policy: {_LIVING}, ended ones are lost early, and their readers get an error "
            "(G4)"
        )
        found = f"maxmemory {limit / _MB:,.0f} MB, {policy}"
        yield _WARNING, found, meaning, "maxmemory-policy noeviction"
    if limit and used is not None and used > _FULL * limit:
        found = f"{used / limit:.0%} of maxmemory is used"
        yield _WARNING, found, "see above: it is about to happen", "more memory, or less retention"
    if evicted := facts.number("evicted_keys"):
        meaning = "sessions may have been among them"
        yield _WARNING, f"{evicted:,} keys were evicted since its start", meaning, "see above"


def _rights(facts: Facts) -> Iterator[_Words]:
    who = "the user" if facts.user is None else f"user {facts.user!r}"
    if facts.info is None and not facts.is_node:
        # It is asked of a Sentinel's master, too.
        meaning = (
            "no hub notices that the name leads to another server while the old one lives on: it "
            "may write to the one and read from the other, and take verdicts of either (G1, G8)"
        )
        advice = f"ACL SETUSER {facts.user or 'USER'} +info"
        yield _WARNING, f"{who} may not: INFO", meaning, advice
    if not facts.refused:
        yield _OK, f"{who} may do all that streamhub needs", "", ""
        return
    grants: dict[str, None] = {}
    for command, reason in facts.refused.items():
        if "channel" in reason:
            grants[f"'&{facts.key_prefix}*'"] = None
        elif "key" in reason:
            grants[f"'~{facts.key_prefix}*'"] = None
        else:
            grants[f"+{command.lower()}"] = None
    unheard = all("SUB" in command or "PUBLISH" in command for command in facts.refused)
    meaning = (
        "no live messages: nothing can be written, for each write tells readers (G3)"
        if unheard
        else "what needs them fails with StoreAuthenticationFailed, whole or in part"
    )
    advice = (
        f"ACL SETUSER {facts.user or 'USER'} {' '.join(grants)} "
        "(docs/topologies.md has the whole line)"
    )
    yield _PROBLEM, f"{who} may not: {', '.join(facts.refused)}", meaning, advice


def _live(facts: Facts) -> Iterator[_Words]:
    told = facts.config.get("client-output-buffer-limit")
    found = re.search(r"pubsub (\d+) (\d+) (\d+)", told or "")
    if found is None:
        yield _unknown("a hub that is cut off reads on from the log (G3)")
        return
    hard, soft, seconds = (int(number) for number in found.groups())
    shown = f"Pub/Sub buffers: {hard:,} bytes, or {soft:,} for {seconds} s"
    if hard == 0:
        meaning = "a hub that stops reading is never cut off, and fills the server's memory instead"
        yield _NOTE, "Pub/Sub buffers: no limit", meaning, "set a hard limit of a few MB"
    elif hard < 2 * _MESSAGE:
        meaning = (
            "one large chunk (max_chunk_bytes) fills it: the hub is cut off each time, and all its "
            "readers go back to the log, late but complete (G3)"
        )
        advice = "client-output-buffer-limit pubsub 32mb 8mb 60, which is Redis' default"
        yield _WARNING, shown, meaning, advice
    else:
        meaning = (
            "a hub that reads slower is cut off, and reads on from the log: nothing is lost (G3)"
        )
        yield _OK, shown, meaning, ""


def _clients(facts: Facts) -> Iterator[_Words]:
    connected, limit = facts.number("connected_clients"), facts.number("maxclients")
    if connected is None or limit is None:
        return
    found = f"{connected:,} of {limit:,} connections"
    if connected > _MANY_CLIENTS * limit:
        meaning = "a hub needs four (G12), and gets none when they are used up"
        yield _WARNING, found, meaning, "raise maxclients, or find who holds them"
    else:
        yield _OK, found, "a hub needs four, however much it does (G12)", ""


def _replication(facts: Facts) -> Iterator[_Words]:
    count = facts.number("connected_slaves")
    wanted = facts.config.get("min-replicas-to-write", "0")
    good = facts.number("min_slaves_good_slaves")
    if facts.role != "master":
        return
    if count is None:
        yield _unknown()
        return
    if wanted.isdigit() and int(wanted) > (count if good is None else good):
        found = f"min-replicas-to-write is {wanted}, and fewer are there"
        meaning = "every write is refused; producers wait and retry for give_up_after (G5)"
        yield _PROBLEM, found, meaning, "bring the replicas back"
    if count == 0:
        meaning = "if this server is lost, so is what it holds; " + _LIVING
        yield _NOTE, "no replicas", meaning, ""
        return
    meaning = (
        "replication is asynchronous: a failover can lose what was acknowledged last; "
        f"{_LIVING}, and is lost if its producer died with it"
    )
    yield _NOTE, f"{count} replicas", meaning, ""
    offset = facts.number("master_repl_offset") or 0
    for name, text in sorted((facts.info or {}).items()):
        if not re.fullmatch(r"slave\d+", name):
            continue
        parts = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
        behind = offset - int(parts.get("offset", "0"))
        if parts.get("state") != "online" or behind > _MB:
            found = f"replica {parts.get('ip')}:{parts.get('port')}: {parts.get('state')}"
            yield (
                _WARNING,
                f"{found}, {behind:,} bytes behind",
                "a failover to it would lose so much",
                "look at its log and at the network",
            )


def _cluster(facts: Facts) -> Iterator[_Words]:
    if not facts.is_node:
        if facts.text("cluster_enabled") == "1":
            meaning = "only the sessions on its own slots can be reached"
            yield _PROBLEM, "is a node of a cluster", meaning, "name it redis+cluster://host:port"
        return
    if facts.cluster is None:
        yield _unknown()
        return
    covered = facts.cluster.get("cluster_slots_ok", "0")
    state, size = facts.cluster.get("cluster_state"), facts.cluster.get("cluster_size")
    found = f"state {state}, {covered} of 16384 slots covered, {size} nodes that have some"
    if state != "ok" or covered != "16384":
        meaning = "sessions on the other slots can be neither written nor read (G5)"
        if facts.config.get("cluster-require-full-coverage") == "yes":
            meaning = "with a slot uncovered, the cluster refuses everything (G5)"
        yield _PROBLEM, found, meaning, "bring the nodes back, or give their slots away"
    else:
        yield _OK, found, "", ""
    failing = [
        address
        for address, flags in (facts.nodes or {}).items()
        if {"fail", "fail?"} & set(flags.split(","))
    ]
    if failing:
        meaning = "until it is back or replaced, one more failure may cost its slots"
        yield _WARNING, f"failing: {', '.join(failing)}", meaning, "look at these nodes"


def _clock(facts: Facts) -> Iterator[_Words]:
    if facts.ahead is None:
        return
    way = "ahead of" if facts.ahead > 0 else "behind"
    apart = f"its clock is {abs(facts.ahead):.1f} s {way} this machine's"
    meaning = (
        "nothing depends on that: leases are by the server's clock alone. If that clock jumps "
        "ahead, leases lapse early and live producers show as lost for a moment (G8)"
    )
    yield _OK if abs(facts.ahead) < _CLOCKS_APART else _NOTE, apart, meaning, ""


def _network(facts: Facts) -> Iterator[_Words]:
    timeout, keepalive = facts.config.get("timeout"), facts.config.get("tcp-keepalive")
    if timeout is None or keepalive is None:
        yield _unknown()
        return
    found = f"timeout {timeout}, tcp-keepalive {keepalive}"
    if keepalive == "0":
        meaning = "the server keeps the connections of machines that are gone (G12)"
        yield _NOTE, found, meaning, "tcp-keepalive 300, which is Redis' default"
    elif timeout != "0":
        meaning = "idle connections are closed, and opened again when they are needed"
        yield _NOTE, found, meaning, ""
    else:
        yield _OK, found, "", ""


_CHECKS: dict[str, Callable[[Facts], Iterator[_Words]]] = {
    "reach": _reach,
    "version": _version,
    "role": _role,
    "rights": _rights,
    "memory": _memory,
    "persistence": _persistence,
    "replication": _replication,
    "cluster": _cluster,
    "live": _live,
    "clients": _clients,
    "network": _network,
    "clock": _clock,
}
