"""A private master with a replica, watched by Sentinels that replace it when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamhub.testing.waiting import patience, unhurried

from .certificates import Certificates
from .redis_cluster import until
from .redis_server import HOST, RedisServer, program

SERVICE = "mymaster"
#: After which a master that is silent is taken for dead, in milliseconds.
DOWN_AFTER = round(unhurried(1000))


class Sentinel(RedisServer):
    """One Sentinel, which is a redis-server of another kind."""

    _READY = b"+monitor"

    def __init__(
        self, master: RedisServer, *, quorum: int, password: str | None, tls: Certificates | None
    ) -> None:
        super().__init__(password=password, certificates=tls)
        self._master = master
        self._quorum = quorum

    def _command(self) -> list[str]:
        master, tls = self._master, self.certificates
        lines = [
            f"{'port' if tls is None else 'tls-port'} {self.port}",
            f"bind {HOST}",
            f"dir {self.directory}",
            f"unixsocket {self.socket_path}",
            f"sentinel monitor {SERVICE} {HOST} {master.port} {self._quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}",
            # How soon a failover that did not come about is tried again.
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        if self.password is not None:
            lines += [f"requirepass {self.password}", f"sentinel sentinel-pass {self.password}"]
        if master.password is not None:
            lines.append(f"sentinel auth-pass {SERVICE} {master.password}")
        if tls is not None:
            lines += ["port 0", "tls-replication yes", "tls-auth-clients no"]
            lines += [f"tls-ca-cert-file {tls.authority}", f"tls-key-file {tls.key}"]
            lines.append(f"tls-cert-file {tls.certificate}")
        configuration = self.directory / "sentinel.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return [program(), str(configuration), "--sentinel"]


class Watched:
    """A master, a replica and three Sentinels.

    Its methods wait for the servers: an event loop that has other things to do calls them in a
    thread.
    """

    def __init__(
        self,
        *,
        password: str | None = None,
        sentinel_password: str | None = None,
        certificates: Certificates | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self._stack = ExitStack()
        self._certificates = certificates
        self.password = password
        self.sentinel_password = sentinel_password
        first = RedisServer(password=password, certificates=certificates, arguments=arguments)
        second = RedisServer(
            password=password, certificates=certificates, replica_of=first, arguments=arguments
        )
        self.servers = [first, second]
        self.sentinels = [
            Sentinel(first, quorum=2, password=sentinel_password, tls=certificates)
            for _ in range(3)
        ]

    @property
    def url(self) -> str:
        """Where to connect, with the passwords."""
        scheme = "redis" if self._certificates is None else "rediss"
        login = "" if self.password is None else f":{self.password}@"
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        query = (
            "" if self.sentinel_password is None else f"?sentinel_password={self.sentinel_password}"
        )
        return f"{scheme}+sentinel://{login}{hosts}/{SERVICE}/0{query}"

    def master(self) -> RedisServer:
        """The one that a Sentinel names now."""
        _, port = self.ask(self.sentinels[-1], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def is_ready(self) -> bool:
        """Whether the Sentinels know each other and the replica, which is up to date."""
        for sentinel in self.sentinels:
            told = self.ask(sentinel, "SENTINEL", "MASTER", SERVICE)
            facts = dict(zip(told[::2], told[1::2], strict=True))
            if (facts["num-other-sentinels"], facts["num-slaves"]) != ("2", "1"):
                return False
        replica = next(server for server in self.servers if server is not self.master())
        role = self.ask(replica, "ROLE")
        return bool(role[0] == "slave" and role[3] == "connected")

    def cut_off(self) -> None:
        """Let the master go on without its replica, which gets nothing of what comes now."""
        master = self.master()
        self.ask(master, "ACL", "SETUSER", "default", "-psync", "-sync", "-replconf")
        self.ask(master, "CLIENT", "KILL", "TYPE", "replica")

    def fail_over(self) -> RedisServer:
        """Kill the master, and return the one that took its place once it has."""
        old = self.master()
        old.kill()
        until(lambda: self.master() is not old)
        return self.master()

    def ask(self, server: RedisServer, *command: object) -> Any:
        """What the server answers, as text."""
        client = redis.Redis(
            unix_socket_path=str(server.socket_path),
            password=server.password,
            decode_responses=True,
            protocol=2,
            socket_timeout=patience(),
            # One that was master a moment ago closes what was open.
            retry=Retry(NoBackoff(), 3),
            retry_on_error=[redis.ConnectionError],
        )
        client.response_callbacks.clear()
        with client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        try:
            for server in (*self.servers, *self.sentinels):
                self._stack.enter_context(server)
            until(self.is_ready)
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
