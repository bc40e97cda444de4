"""Asks every server that has sessions for what it tells of itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from statistics import median
from typing import Any
from uuid import uuid4

from ....config import HubConfig
from ....errors import StoreUnavailable, StreamHubError
from ..connections.dialer import Server
from ..connections.pipeline import Pipeline
from ..layout.keys import Keys
from ..topology.cluster import Cluster
from ..topology.topology import Topology
from ..topology.url import of_url
from . import rights
from .findings import Checkup, Facts, Finding, Level
from .judging import judge

__all__ = ["check_up"]

_SETTINGS = (
    "save",
    "appendonly",
    "appendfsync",
    "client-output-buffer-limit",
    "min-replicas-to-write",
    "timeout",
    "tcp-keepalive",
    "cluster-require-full-coverage",
)
_PINGS = 9


async def check_up(url: str, key_prefix: str | None = None) -> Checkup:
    """Look at all servers that ``url`` leads to. Changes nothing but a session that it makes up.

    :raises InvalidStoreUrl: the URL names no Redis.
    :raises StoreUnavailable: no server answers, or none lets us in.
    """
    topology = of_url(url)
    prefix = HubConfig().key_prefix if key_prefix is None else key_prefix
    servers = await _servers(topology)
    scratch = _scratch(topology, servers, prefix)
    answers = await asyncio.gather(
        *(_examine(topology, server, scratch[server], prefix) for server in servers)
    )
    failures = [answer for answer in answers if isinstance(answer, StreamHubError)]
    if len(failures) == len(servers):
        raise failures[0]
    findings: list[Finding] = []
    for server, answer in zip(servers, answers, strict=True):
        if isinstance(answer, StreamHubError):
            findings.append(
                Finding(
                    level=Level.PROBLEM,
                    subject="reach",
                    found=str(answer),
                    meaning="its sessions can be neither written nor read until it is back, and "
                    "producers give up after give_up_after (G5)",
                    advice="bring the node back, or let a replica take over its slots",
                    server=server.name,
                )
            )
        else:
            findings += judge(answer, server.name)
    return Checkup(
        topology.name, findings, {server.name: session for server, session in scratch.items()}
    )


async def _servers(topology: Topology) -> list[Server]:
    if isinstance(topology, Cluster):
        return await topology.servers()
    server = topology.server(0)
    assert server is not None
    return [server]


def _scratch(topology: Topology, servers: Sequence[Server], prefix: str) -> dict[Server, str]:
    """A session of our own on each server."""
    base = f"streamhub doctor {uuid4()}"
    found: dict[Server, str] = {}
    number = 0
    while len(found) < len(servers):
        session_id = f"{base} {number}"
        slot = topology.slot(Keys.of(prefix, session_id).meta.encode())
        server = topology.server(slot)
        if server is not None:
            found.setdefault(server, session_id)
        number += 1
    return found


async def _examine(
    topology: Topology, server: Server, session_id: str, prefix: str
) -> Facts | StreamHubError:
    pipeline = Pipeline(server, retries=False)
    try:
        return await _facts(topology, pipeline, session_id, prefix)
    except StreamHubError as error:
        return error
    finally:
        with suppress(StoreUnavailable):
            await pipeline.aclose()


async def _facts(topology: Topology, pipeline: Pipeline, session_id: str, prefix: str) -> Facts:
    is_node = isinstance(topology, Cluster)
    await pipeline.ask([("PING",)])
    clock = time.perf_counter
    latencies = []
    for _ in range(_PINGS):
        start = clock()
        await pipeline.ask([("PING",)])
        latencies.append(clock() - start)
    info, role, whoami, *settings = await pipeline.ask(
        [
            ("INFO",),
            ("ROLE",),
            ("ACL", "WHOAMI"),
            *(("CONFIG", "GET", name) for name in _SETTINGS),
        ]
    )
    before = time.time()
    (now,) = await pipeline.ask([("TIME",)])
    after = time.time()
    cluster, nodes = (
        await pipeline.ask([("CLUSTER", "INFO"), ("CLUSTER", "NODES")]) if is_node else (None, None)
    )
    user = whoami.decode() if isinstance(whoami, bytes) else None
    told = _pairs(info)
    sharded = is_node and not _is_before_7(told)
    commands = rights.needed(Keys.of(prefix, session_id), prefix, sharded=sharded)
    return Facts(
        latency=median(latencies),
        is_node=is_node,
        info=told,
        config={
            name: answer[1].decode()
            for name, answer in zip(_SETTINGS, settings, strict=True)
            if isinstance(answer, list) and len(answer) == 2
        },
        role=role[0].decode() if isinstance(role, list) else (told or {}).get("role"),
        cluster=_pairs(cluster),
        nodes=_flags(nodes),
        ahead=None if isinstance(now, Exception) else _seconds(now) - (before + after) / 2,
        user=user,
        key_prefix=prefix,
        refused=await rights.refused(pipeline, user, commands),
    )


def _pairs(answer: Any) -> dict[str, str] | None:
    """What INFO and CLUSTER INFO say; None where they are refused."""
    if not isinstance(answer, bytes):
        return None
    lines = answer.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _flags(answer: Any) -> dict[str, str] | None:
    if not isinstance(answer, bytes):
        return None
    rows = [line.split() for line in answer.decode(errors="replace").splitlines()]
    return {row[1].partition("@")[0]: row[2] for row in rows if len(row) > 2}


def _seconds(now: Any) -> float:
    return int(now[0]) + int(now[1]) / 1e6


def _is_before_7(info: dict[str, str] | None) -> bool:
    version = (info or {}).get("redis_version", "")
    return version.partition(".")[0] in ("5", "6")
