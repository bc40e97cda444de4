"""A private Redis Cluster, whose nodes tests may kill and freeze, and whose slots they may move."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from types import TracebackType
from typing import Any, Self

import redis
from redis.crc import key_slot

from streamhub.testing.waiting import patience, unhurried

from .certificates import Certificates
from .redis_server import HOST, RedisServer, free_port, program

SLOTS = 16384
#: After which a node that is silent is taken for dead, in milliseconds.
NODE_TIMEOUT = round(unhurried(1000))
_BOUND = 60.0
#: Apart from those of servers, which are told of a port that is taken, and pick another.
_BUS_PORTS = range(10_000, 20_000)
_given_ports: set[int] = set()
_PAUSE = 0.02
#: How long a node tries to take over, and how often it is told to.
_HANDING_OVER, _ATTEMPTS = 6.0, 4


class RedisCluster:
    """Primaries that share the slots, and as many replicas as wished for each.

    Its methods wait for the servers: an event loop that has other things to do calls them in a
    thread.
    """

    def __init__(
        self,
        primaries: int = 3,
        *,
        replicas: int = 0,
        password: str | None = None,
        certificates: Certificates | None = None,
        client_certificates: bool = False,
        arguments: Sequence[str] = (),
    ) -> None:
        self._stack = ExitStack()
        self._certificates = certificates
        self.password = password

        def node() -> RedisServer:
            return RedisServer(
                password=password,
                certificates=certificates,
                client_certificates=client_certificates,
                arguments=(*_options(certificates), *arguments),
            )

        self.primaries = [node() for _ in range(primaries)]
        self.replicas = [node() for _ in range(primaries * replicas)]

    def __repr__(self) -> str:
        return f"<RedisCluster {self.url_of(password='')}>"

    @property
    def nodes(self) -> list[RedisServer]:
        return [*self.primaries, *self.replicas]

    @property
    def url(self) -> str:
        """Where to connect, with the password; it names two of the nodes."""
        return self.url_of(password=self.password or "")

    def url_of(self, *, user: str = "", password: str) -> str:
        scheme = "redis" if self._certificates is None else "rediss"
        login = f"{user}:{password}@" if password else ""
        hosts = ",".join(f"{HOST}:{node.port}" for node in self.nodes[:2])
        return f"{scheme}+cluster://{login}{hosts}"

    def owner(self, slot: int) -> RedisServer:
        """The node that has the slot now, by the word of one that runs."""
        for asked in self._running():
            for first, last, (_, port, *_), *_ in self.ask(asked, "CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(node for node in self.nodes if node.port == port)
        raise LookupError(f"no node has slot {slot}")

    def owner_of(self, session_id: str) -> RedisServer:
        return self.owner(slot_of(session_id))

    def ask(self, node: RedisServer, *command: object) -> Any:
        """What the node answers, as text."""
        client = redis.Redis(
            unix_socket_path=str(node.socket_path),
            password=self.password,
            decode_responses=True,
            protocol=2,
            socket_timeout=patience(),
        )
        # Answers as they came, not as the client would parse them.
        client.response_callbacks.clear()
        with client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def wipe(self) -> None:
        for node in self.primaries:
            self.ask(node, "FLUSHALL")

    def is_whole(self) -> bool:
        """Whether all that run see each other, and every slot has a node that works."""
        running = self._running()
        for node in running:
            if "cluster_state:ok" not in self.ask(node, "CLUSTER", "INFO"):
                return False
            links = self.ask(node, "CLUSTER", "NODES").splitlines()
            whole = [link for link in links if "connected" in link.split() and "fail" not in link]
            if len(whole) < len(running):
                return False
        return True

    def begin_move(self, slot: int, target: RedisServer) -> RedisServer:
        """Open the slot for its move to ``target``; answers who has it still."""
        source = self.owner(slot)
        self.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self._id(source))
        self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self._id(target))
        return source

    def move_key(self, source: RedisServer, target: RedisServer, key: str) -> None:
        login = ("AUTH", self.password) if self.password else ()
        self.ask(source, "MIGRATE", HOST, target.port, "", 0, 5000, *login, "KEYS", key)

    def keys(self, node: RedisServer, slot: int) -> list[str]:
        return list(self.ask(node, "CLUSTER", "GETKEYSINSLOT", slot, 1000))

    def end_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        for node in (target, source, *self._running()):
            if node in (source, target) or self._is_primary(node):
                self.ask(node, "CLUSTER", "SETSLOT", slot, "NODE", self._id(target))

    def move(self, slot: int, target: RedisServer) -> None:
        """Give the slot with all its keys to ``target``, one key at a time."""
        source = self.begin_move(slot, target)
        while keys := self.keys(source, slot):
            for key in keys:
                self.move_key(source, target, key)
        self.end_move(slot, source, target)

    def cut_off(self, primary: RedisServer) -> None:
        """Let a primary go on without its replicas, which get nothing of what comes now."""
        self.ask(primary, "ACL", "SETUSER", "default", "-psync", "-sync", "-replconf")
        self.ask(primary, "CLIENT", "KILL", "TYPE", "replica")

    def fail_over(self, primary: RedisServer) -> None:
        """Kill a primary, and return once a replica has its slots, and all work again."""
        (slot, *_), *_ = [
            share for share in self.ask(primary, "CLUSTER", "SLOTS") if share[2][1] == primary.port
        ]
        primary.kill()
        until(lambda: self.owner(slot) is not primary and self.is_whole())

    def hand_over(self, primary: RedisServer, replica: RedisServer) -> None:
        """Let a replica take the slots of its primary, which lives and is not asked; return once
        both know."""

        def is_demoted() -> bool:
            return bool(self.ask(primary, "ROLE")[0] == "slave")

        for _ in range(_ATTEMPTS):
            self.ask(replica, "CLUSTER", "FAILOVER", "FORCE")
            # A node gives up one that was not voted for in time, and says so to nobody.
            with suppress(TimeoutError):
                return until(is_demoted, _HANDING_OVER)
        raise TimeoutError(f"{replica} did not take over from {primary}")

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                self._stack.enter_context(node)
            self._form()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _form(self) -> None:
        share = SLOTS / len(self.primaries)
        for index, node in enumerate(self.nodes):
            self.ask(node, "CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for index, node in enumerate(self.primaries):
            slots = range(round(index * share), round((index + 1) * share))
            self.ask(node, "CLUSTER", "ADDSLOTS", *slots)
        first, *others = self.nodes
        for node in others:
            self.ask(node, "CLUSTER", "MEET", HOST, first.port, *_bus_port(first))
        until(self.is_whole)
        for index, node in enumerate(self.replicas):
            primary = self._id(self.primaries[index % len(self.primaries)])
            self.ask(node, "CLUSTER", "REPLICATE", primary)
        until(lambda: all(self.ask(node, "ROLE")[3] == "connected" for node in self.replicas))
        until(
            lambda: all(self._count_replicas(node) for node in self.primaries) or not self.replicas
        )
        until(self.is_whole)

    def _running(self) -> list[RedisServer]:
        return [node for node in self.nodes if node.is_running]

    def _id(self, node: RedisServer) -> str:
        return str(self.ask(node, "CLUSTER", "MYID"))

    def _is_primary(self, node: RedisServer) -> bool:
        return bool(self.ask(node, "ROLE")[0] == "master")

    def _count_replicas(self, node: RedisServer) -> int:
        return len(self.ask(node, "ROLE")[2])


def slot_of(session_id: str) -> int:
    """The slot of a session whose id does not begin with a closing brace."""
    return key_slot(f"streamhub:{{{session_id}}}:meta".encode())


def until(condition: Callable[[], object], seconds: float = _BOUND) -> None:
    """Ask again and again: servers have no event for how they see each other."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + patience(seconds):
            raise TimeoutError(f"it took longer than {patience(seconds):.0f} s")
        time.sleep(_PAUSE)


def _options(certificates: Certificates | None) -> list[str]:
    options = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
    options += ["--cluster-node-timeout", str(NODE_TIMEOUT)]
    # A replica takes over whatever the age of its data: losing some is what is tested.
    options += ["--cluster-replica-validity-factor", "0"]
    if has_sharded_channels():
        options += ["--cluster-port", str(_free_bus_port())]
    if certificates is not None:
        options += ["--tls-cluster", "yes"]
    return options


def _free_bus_port() -> int:
    """One that no other node of this process has been given: it may not have started yet."""
    while (port := free_port(_BUS_PORTS)) in _given_ports:
        pass
    _given_ports.add(port)
    return port


def _bus_port(node: RedisServer) -> list[int]:
    options = list(node.arguments)
    if "--cluster-port" not in options:
        return []
    return [int(options[options.index("--cluster-port") + 1])]


@cache
def has_sharded_channels() -> bool:
    """Whether it is Redis 7.0 or later, which can be told the port of its bus, too: before, that is
    the one that lies 10,000 above."""
    said = subprocess.run([program(), "--version"], check=True, capture_output=True, text=True)
    return not any(f" v={old}" in said.stdout for old in ("5.", "6."))
