"""The fixtures: a private Redis per test worker, hubs on every store, child processes, browsers."""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest
import redis.asyncio
from playwright.async_api import Browser, Page

from streamhub import Hub, HubConfig
from streamhub.instruments import Instrument
from streamhub.testing.waiting import patience, slowness

from .support import chromium
from .support.backends import BACKENDS, EVERY_BACKEND, NewHub
from .support.certificates import Certificates
from .support.child_processes import PythonProcess
from .support.chromium import Pages
from .support.http_server import Port, ServerProcess
from .support.redis_cluster import RedisCluster
from .support.redis_server import RedisServer

# Some tests take a step of the conformance suite, and may be collected before it is.
pytest.register_assert_rewrite("streamhub.testing.hub", "streamhub.testing.store")

# Where they run in the background, every program that tests start would ignore these signals.
for one, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(one) is signal.SIG_IGN:
        signal.signal(one, usual)


#: At the top of a module of which each test needs the packages of others.
_ALL_CONNECTED = re.compile(r"^pytestmark = (?:\[[^\]]*|.*)mark\.integrations", re.MULTILINE)
_SOURCE_FAILED = re.compile(r"the source of session .* failed\nTraceback")


class MakeHub(Protocol):
    """Opens one more hub on the same sessions, as another instance would."""

    def __call__(
        self, config: HubConfig | None = None, instruments: Sequence[Instrument] = ()
    ) -> Hub: ...


class RunPython(Protocol):
    """Starts ``python -c source args…`` in a process that is killed with the test."""

    async def __call__(self, source: str, *args: str) -> PythonProcess: ...


class Serve(Protocol):
    """Starts an application in a server process that is killed with the test.

    ``source`` defines the ASGI application ``app``; ``args`` are its ``sys.argv[1:]``. Without
    ``port`` it gets one of its own.
    """

    async def __call__(
        self, source: str, *args: str, port: Port | None = None
    ) -> ServerProcess: ...


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Tests wait more than they compute, so that four share one processor well."""
    return min(16, 4 * (os.cpu_count() or 1))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module of which nothing runs: to import all that streamhub is connected with takes
    longer than to collect all other tests."""
    wanted = config.option.markexpr
    if "integrations" not in wanted or not collection_path.match("test_*.py"):
        return None
    source = collection_path.read_text()
    if "not integrations" in wanted:
        return bool(_ALL_CONNECTED.search(source)) or None
    return "mark.integrations" not in source or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest stands first in what each worker begins with: else one of them has it left
    when all others are done."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    rest = [item for item in items if not item.get_closest_marker("long")]
    size = -(-len(rest) // workers)
    items[:] = [
        item
        for worker in range(workers)
        for item in (*long[worker::workers], *rest[worker * size : (worker + 1) * size])
    ]


def pytest_sessionstart() -> None:
    """Know how slow the machine is before the first test has a deadline."""
    slowness()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What was collected stays: no garbage collection has to look at it in every test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def session_id() -> str:
    return f"chat:{uuid4().hex}"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server that this worker's tests share. Take ``make_redis`` to stop or freeze one."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Where the shared server answers, emptied, with no connection of this fixture left."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(redis_server.socket_path))
        connection.sendall(b"FLUSHALL\r\nQUIT\r\n")
        with connection.makefile("rb") as replies:
            assert [b"+OK\r\n", b"+OK\r\n"] == list(replies)
    return redis_server.url


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """The cluster of three that this worker's tests share, to be left as it is."""
    with RedisCluster(3) as cluster:
        yield cluster


@pytest.fixture
def cluster_url(redis_cluster: RedisCluster) -> str:
    """Where the shared cluster answers, emptied."""
    redis_cluster.wipe()
    return redis_cluster.url


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A plain client of the shared server: what it reads is bytes."""
    async with redis.asyncio.Redis.from_url(redis_url, socket_timeout=patience()) as client:
        yield client


@pytest.fixture
def make_redis() -> Iterator[Callable[..., RedisServer]]:
    """Starts servers of the test's own; takes what ``RedisServer`` takes."""
    with ExitStack() as servers:

        def make(**options: object) -> RedisServer:
            return servers.enter_context(RedisServer(**options))  # type: ignore[arg-type]

        yield make


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.write(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=EVERY_BACKEND)
def new_hub(request: pytest.FixtureRequest) -> NewHub:
    """Each store in turn; ``parametrize("new_hub", ["redis"], indirect=True)`` picks one."""
    name: str = request.param
    return BACKENDS[name](request)


@pytest.fixture
async def make_hub(new_hub: NewHub) -> AsyncIterator[MakeHub]:
    async with AsyncExitStack() as stack:

        def make(config: HubConfig | None = None, instruments: Sequence[Instrument] = ()) -> Hub:
            hub = new_hub(config or HubConfig(), instruments)
            stack.push_async_callback(hub.aclose)
            return hub

        yield make


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return make_hub()


@pytest.fixture
async def run_python(tmp_path: Path) -> AsyncIterator[RunPython]:
    async with AsyncExitStack() as processes:

        async def run(source: str, *args: str) -> PythonProcess:
            errors = tmp_path / f"stderr-{uuid4().hex}"
            process = await PythonProcess.start(source, *args, errors=errors)
            return await processes.enter_async_context(process)

        yield run


@pytest.fixture
def port() -> Iterator[Port]:
    """A port that servers of the test share, at the same time or one after the other."""
    with Port() as port:
        yield port


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    started: list[ServerProcess] = []
    async with AsyncExitStack() as stack:

        async def start(source: str, *args: str, port: Port | None = None) -> ServerProcess:
            where = port or stack.enter_context(Port())
            errors = tmp_path / f"stderr-{uuid4().hex}"
            process = await where.serve(source, *args, errors=errors)
            started.append(process)
            return await stack.enter_async_context(process)

        yield start
    # A source that fails is to be told with its traceback; nothing else has a reason to.
    told = [_SOURCE_FAILED.sub("", process.stderr) for process in started]
    assert [] == [stderr for stderr in told if "Traceback" in stderr]


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The Chromium that this worker's tests share."""
    async with chromium.launched() as browser:
        yield browser


@pytest.fixture
async def pages(browser: Browser) -> AsyncIterator[Pages]:
    """Tabs in a profile of the test's own. Errors in them fail it, unless it expects them."""
    async with Pages(browser) as pages:
        yield pages
    assert [] == pages.errors


@pytest.fixture
async def page(pages: Pages) -> Page:
    """One tab."""
    return await pages.open()
