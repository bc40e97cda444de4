"""The wheel, as its users get it: complete, and working away from the source tree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent

PROGRAM = """
import asyncio, sys
import streamhub

async def main(url):
    async with streamhub.Hub.from_url(url) as hub:
        stream = await hub.run("chat:1", ["Hello", ", ", "world"])
        print("".join([chunk.data async for chunk in stream.subscribe()]))

print(streamhub.__file__)
asyncio.run(main(sys.argv[1]))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    _run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory), str(ROOT))
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel installed into it, and nothing else."""
    directory = tmp_path_factory.mktemp("site")
    _run("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(directory), str(wheel))
    return directory


def test_the_wheel_holds_the_whole_package(wheel: Path) -> None:
    """Every source file is in the wheel, with the scripts and the marker that it is typed."""
    sources = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "streamhub").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("streamhub/")}

    assert sources == packed
    assert "streamhub/py.typed" in packed
    assert "streamhub/demo/page/index.html" in packed
    assert any(name.startswith("streamhub/stores/redis/lua/") for name in packed)


@pytest.mark.parametrize("backend", ["memory", "redis"])
def test_a_program_runs_on_the_installed_wheel(
    backend: str, site: Path, redis_url: str, tmp_path: Path
) -> None:
    """What a user installs publishes and subscribes."""
    url = redis_url if backend == "redis" else "memory://"
    output = _run("-c", PROGRAM, url, cwd=tmp_path, path=site).splitlines()

    assert [str(site / "streamhub" / "__init__.py"), "Hello, world"] == output


def test_the_command_is_installed(site: Path, tmp_path: Path) -> None:
    """The wheel brings the ``streamhub`` command."""
    command = site / "bin" / "streamhub"

    assert "demo" in _run(str(command), "--help", cwd=tmp_path, path=site)


def _run(*args: str, cwd: Path = ROOT, path: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": "" if path is None else str(path)}
    done = subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert 0 == done.returncode, done.stdout
    return done.stdout
