"""What applications are tested with, used as the page on it does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamhub import Hub, HubClosed, HubConfig, ProducerLost
from streamhub.testing import PAUSE, CannotRun, PrivateRedis, ScriptedSource, crash
from streamhub.testing.waiting import within

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def lay(folder: Path) -> None:
    """Put the page's files into a folder."""
    conftest, *tests = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    folder.joinpath("conftest.py").write_text(conftest)
    # One backend of anyio: the fixture that says so is the application's.
    folder.joinpath("test_answers.py").write_text("\n\n".join(tests))


def run(folder: Path, *plugins: str) -> str:
    """What pytest says in the end, with nothing of this project's settings."""
    asked = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(folder), *plugins]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *asked, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["anyio", "asyncio"])
def test_the_page_passes_under_both_plugins(tmp_path: Path, mark: str) -> None:
    """Its tests are run by anyio's plugin, and by pytest-asyncio in its strict mode."""
    lay(tmp_path)
    tests = tmp_path / "test_answers.py"
    tests.write_text(tests.read_text().replace("pytest.mark.anyio ", f"pytest.mark.{mark} "))
    conftest = tmp_path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + "import pytest\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n"
    )
    plugins = ["-p", "no:asyncio"] if mark == "anyio" else ["-o", "asyncio_mode=strict"]

    assert "4 passed" in run(tmp_path, *plugins)


async def test_a_crash_leaves_the_lease() -> None:
    """Sources are interrupted, who publishes by hand is told, and the hub goes on."""
    async with Hub(config=HubConfig(lease=0.5)) as hub:
        model = ScriptedSource("a", PAUSE)
        ran = await hub.run("ran", model)
        by_hand, _ = await hub.register("by hand")
        await model.pauses()
        crash(hub)
        with pytest.raises(HubClosed):
            await by_hand.publish("b")
        for stream in (ran, by_hand):
            with pytest.raises(ProducerLost):
                await within(anext(stream.subscribe(after="now")))
        _, created = await hub.register("by hand")

        assert created
        assert model.interrupted is not None


async def test_a_redis_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    """None on the PATH, one that is no program, and one that ends."""
    for server, why in ((tmp_path / "none", "No such file"), ("/bin/false", "exit code 1")):
        with pytest.raises(CannotRun, match=why):
            async with PrivateRedis(str(server)):
                pass


async def test_a_script_says_what_it_was_given() -> None:
    """Text in order, an exception where it stands, and nothing before ``go_on``."""
    model = ScriptedSource("a", PAUSE, "b", ValueError("c"))
    said = aiter(model)
    assert "a" == await anext(said)
    model.go_on()
    assert "b" == await anext(said)
    with pytest.raises(ValueError, match="c"):
        await anext(said)

    assert ["a", "b"] == model.said
