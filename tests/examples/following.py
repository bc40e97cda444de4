"""An example in a folder of its own, outside of the repository, and what its README has one run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType, ModuleType
from uuid import uuid4

import httpx

from streamhub.testing.waiting import bounded, until

from ..support.child_processes import Leash
from ..support.redis_server import HOST, free_port

__all__ = ["ENDLESS", "EXAMPLES", "REDIS", "Example", "Running", "commands_of", "loaded"]

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Where examples expect a Redis, and serve.
REDIS = "redis://localhost:6379/0"
PORT = "8000"
_PORTS = re.compile(r"\b80\d\d\b")

#: Instead of what is scripted: no answer but that to "Why?" ends by itself, so that others are
#: stopped and killed in the middle, however slow the machine is.
ENDLESS = {"range(1, 61)": 'range(1, 61 if question == "Why?" else 10**6)'}

#: In a folder in which somebody has run it.
_LEFT_BY_RUNS = shutil.ignore_patterns("__pycache__", "*.db*", "node_modules", "dist", "place*")
#: Of ours, not of somebody who follows a README.
_NOT_THEIRS = re.compile(r"STREAMHUB_|OPENAI_|MODEL$|PYTEST_")


def commands_of(folder: Path) -> list[str]:
    """What the README of an example has one run, line by line, but for what installs packages."""
    blocks = re.findall(r"```sh\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [
        line for line in lines if line and not line.startswith(("pip install ", "npm install "))
    ]


class Example:
    """A copy of an example. It serves on a free port, always the same one; where its README names
    others that begin with 80, each of these is a free one, too.

    :param changes: text of its ``program`` and what stands there instead, as a shorter pause.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        redis_url: str = REDIS,
        changes: Mapping[str, str] = MappingProxyType({}),
        program: str = "app.py",
    ) -> None:
        self.folder = directory / name
        self._ports: dict[str, int] = {}
        self._redis_url = redis_url
        shutil.copytree(EXAMPLES / name, self.folder, ignore=_LEFT_BY_RUNS)
        app = self.folder / program
        source = app.read_text()
        for text, other in changes.items():
            assert 1 == source.count(text), f"{text!r} is not in {program} once"
            source = source.replace(text, other)
        app.write_text(source)

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://{HOST}:{self.port}"

    @property
    def port(self) -> int:
        """Where it serves."""
        return self.port_of(PORT)

    def port_of(self, named: str) -> int:
        """The port that stands for one of its README."""
        return self._ports.setdefault(named, free_port())

    async def run(self, command: str, **variables: str) -> Running:
        """Start a command of its README in its folder, with the port and the Redis of this test in
        the place of those that stand there.

        :param variables: of the environment, beside what stands in front of the command.
        """
        assert command in commands_of(self.folder), f"the README does not have {command!r}"
        words = command.replace(REDIS, self._redis_url)
        words = _PORTS.sub(lambda found: str(self.port_of(found[0])), words)
        return await Running.start(words, self.folder, variables)

    async def done(self, command: str, **variables: str) -> None:
        """Run such a command to its end, which is that of a success."""
        async with await self.run(command, **variables) as running:
            code, said = await running.ended()
        assert 0 == code, said + running.said

    @contextlib.asynccontextmanager
    async def served(self, command: str, **variables: str) -> AsyncIterator[Running]:
        """The same, from when it answers requests until the end of the block."""
        named = _PORTS.findall(command) or [PORT]
        url = f"http://{HOST}:{self.port_of(named[-1])}"
        async with await self.run(command, **variables) as running, httpx.AsyncClient() as client:

            async def answers() -> bool:
                assert running.is_running, running.said
                with contextlib.suppress(httpx.TransportError):
                    await client.get(url)
                    return True
                return False

            await until(answers)
            yield running


def loaded(folder: Path, program: str = "app.py") -> ModuleType:
    """The program of an example, imported as it stands."""
    spec = spec_from_file_location(f"{folder.name}_app", folder / program)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Running:
    """A command that runs in a shell, killed with all that it has started at the end of the
    block."""

    def __init__(self, process: Process, output: Path) -> None:
        self._process = process
        self._leash = Leash(process.pid)
        self._output = output

    @classmethod
    async def start(
        cls, command: str, folder: Path, variables: Mapping[str, str] = MappingProxyType({})
    ) -> Running:
        kept = {name: value for name, value in os.environ.items() if not _NOT_THEIRS.match(name)}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        output = folder / f"output-{uuid4().hex}"
        with output.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-c", command),
                cwd=folder,
                env={**kept, "PATH": programs, "PYTHONUNBUFFERED": "1", **variables},
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=errors,
                start_new_session=True,
            )
        return cls(process, output)

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    @property
    def said(self) -> str:
        """Its standard error so far."""
        return self._output.read_text(errors="replace")

    async def line(self) -> str:
        """The next line of its standard output; empty at the end."""
        assert self._process.stdout is not None
        async with bounded():
            return (await self._process.stdout.readline()).decode()

    async def read(self, count: int) -> str:
        """So many characters of its standard output, which are ASCII."""
        assert self._process.stdout is not None
        async with bounded():
            return (await self._process.stdout.readexactly(count)).decode()

    async def ended(self) -> tuple[int, str]:
        """Its exit code, and the rest of its standard output."""
        assert self._process.stdout is not None
        async with bounded():
            rest = (await self._process.stdout.read()).decode()
            return await self._process.wait(), rest

    def signal(self, number: signal.Signals) -> None:
        """Send the command and all that it has started a signal, as Ctrl-C does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)
        # Reading to the end lets go of the pipe, whose transport would warn otherwise.
        await self._process.communicate()
        self._leash.release()

    async def __aenter__(self) -> Running:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()
