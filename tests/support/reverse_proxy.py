"""Real reverse proxies with the configuration of docs/proxies.md, each on a port of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import httpx

from .child_processes import Leash
from .redis_server import HOST, free_port

__all__ = ["PROXIES", "ReverseProxy", "program_of"]

_PAGE = Path(__file__).parents[2] / "docs" / "proxies.md"
#: Where systems keep servers, and where pip puts programs.
_PLACES = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])


class _Kind(NamedTuple):
    #: The language of its block on the page.
    language: str
    #: What is written around the block, with ``{block}`` and ``{directory}``.
    around: str
    #: The command, with ``{program}``, ``{file}``, ``{directory}`` and ``{port}``.
    command: str
    #: Replacements in the block: of the port that it listens on, and of its time-outs.
    listen: tuple[str, str]
    seconds: Callable[[float], str]


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


PROXIES = {
    "nginx": _Kind(
        "nginx",
        "daemon off;\nmaster_process off;\nerror_log stderr;\npid {directory}/pid;\n"
        "events {{}}\nhttp {{\n"
        + "".join(
            f"{kind}_temp_path {{directory}}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + "access_log off;\ngzip on;\ngzip_types text/event-stream text/plain application/x-ndjson;"
        "\ngzip_min_length 1;\n{block}\n}}\n",
        "{program} -c {file} -p {directory} -e stderr",
        ("listen 80;", f"listen {HOST}:{{port}};"),
        _ms,
    ),
    "caddy": _Kind(
        "caddyfile",
        "{{\n admin off\n auto_https off\n persist_config off\n}}\n{block}",
        "{program} run --adapter caddyfile --config {file}",
        (":80 {", f"http://{HOST}:{{port}} {{{{"),
        _ms,
    ),
    "envoy": _Kind(
        "yaml",
        "{block}",
        "{program} -c {file} --concurrency 1 --disable-hot-restart --log-level error",
        ("address: 0.0.0.0, port_value: 80", f"address: {HOST}, port_value: {{port}}"),
        lambda seconds: f"{seconds:.3f}s",
    ),
    "haproxy": _Kind(
        "text",
        "global\n maxconn 200\n{block}",
        "{program} -db -f {file}",
        ("bind :80", f"bind {HOST}:{{port}}"),
        _ms,
    ),
    "traefik": _Kind(
        "yaml",
        "{block}",
        f"{{program}} --providers.file.filename={{file}} --entrypoints.web.address={HOST}:{{port}}",
        ("", ""),
        _ms,
    ),
}


def program_of(name: str) -> str | None:
    """Its path; ``NGINX_SERVER``, ``CADDY_SERVER`` … may name another."""
    return shutil.which(os.environ.get(f"{name.upper()}_SERVER") or name, path=_PLACES)


class ReverseProxy:
    """A proxy in front of ``upstream``, the port of a server, while it is entered.

    :param silence: its time-outs, in seconds, in place of the page's.
    """

    def __init__(self, name: str, upstream: int, *, silence: float) -> None:
        self.name = name
        self.port = free_port()
        self._kind = PROXIES[name]
        self._upstream, self._silence = upstream, silence
        self._directory = Path(tempfile.mkdtemp(prefix="streamhub-proxy-"))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")

    def _configuration(self) -> str:
        title = {"nginx": "nginx", "haproxy": "HAProxy"}.get(self.name, self.name.title())
        section = _PAGE.read_text().partition(f"\n## {title}\n")[2]
        found = re.search(rf"```{self._kind.language}\n(.*?)```", section, re.DOTALL)
        assert found is not None, f"docs/proxies.md has no block for {self.name}"
        block = found[1]
        changes = [
            (r"127\.0\.0\.1:8080", f"127.0.0.1:{self._upstream}"),
            (
                r"address: 127\.0\.0\.1, port_value: 8080",
                f"address: 127.0.0.1, port_value: {self._upstream}",
            ),
            (re.escape(self._kind.listen[0]), self._kind.listen[1].format(port=self.port)),
            (r"\b60s\b", self._kind.seconds(self._silence)),
        ]
        for pattern, text in changes:
            block = re.sub(pattern, text, block) if pattern else block
        return self._kind.around.format(block=block, directory=self._directory)

    def __enter__(self) -> Self:
        file = self._directory / f"configuration.{self._kind.language}"
        file.write_text(self._configuration())
        program = program_of(self.name)
        assert program is not None, f"there is no {self.name}"
        words = self._kind.command.split()
        command = [
            word.format(program=program, file=file, directory=self._directory, port=self.port)
            for word in words
        ]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._directory,
                env={**os.environ, "HOME": str(self._directory)},
            )
        self._leash = Leash(self._process.pid, self._directory)
        return self

    async def answers(self) -> bool:
        """Whether it answers for its server."""
        assert self._process.poll() is None, f"{self.name} has ended:\n{self.log}"
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{self.url}/health")).is_success
        except httpx.TransportError:
            return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._leash.release()
        shutil.rmtree(self._directory, ignore_errors=True)
