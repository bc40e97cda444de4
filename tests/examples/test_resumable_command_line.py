"""The example of a command line that is killed and goes on where it was."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamhub import Hub
from streamhub.testing.waiting import until

from .following import Example

pytestmark = pytest.mark.slow

#: What the model says until it first waits, until it waits again, and then.
SAID = [
    "".join(f"{n}. Why? " for n in range(first, last + 1))
    for first, last in [(1, 5), (6, 10), (11, 60)]
]

#: In the place of the model's pause: after its fifth and its tenth word it waits for a file.
GATE = """while n in (5, 10) and not os.path.exists(f"after {n}"):
        time.sleep(0.01)"""


@pytest.fixture
def example(tmp_path: Path, redis_url: str) -> Iterator[Example]:
    changes = {"time.sleep(PAUSE)": GATE, "import sys\n": "import os\nimport sys\n"}
    example = Example(
        "resumable_command_line",
        tmp_path,
        redis_url=redis_url,
        changes=changes,
        program="model.py",
    )
    yield example
    # Its model is not a child of the test, and would wait for ever where that has failed.
    for n in (5, 10):
        (example.folder / f"after {n}").touch()


async def test_the_next_run_shows_exactly_the_rest(example: Example, redis_url: str) -> None:
    """After a SIGKILL, and after Ctrl-C: the answer has gone on, and none of it is missing or comes
    twice."""
    place = example.folder / "place.json"

    async def killed(command: str, part: int, end: signal.Signals) -> tuple[int, str]:
        """Its exit code and what it says on its standard error, once all of the part was shown."""
        async with await example.run(command, STREAMHUB_URL=redis_url) as running:
            assert SAID[part] == await running.read(len(SAID[part]))
            stream = await hub.get(json.loads(place.read_text())["session"])
            assert stream is not None
            last = str((await stream.info()).last)

            async def is_kept() -> bool:
                return bool(json.loads(place.read_text())["cursor"] == last)

            await until(is_kept)
            running.signal(end)
            code, more = await running.ended()
            (example.folder / f"after {5 * part + 5}").touch()
            assert "" == more
            return code, running.said

    async with Hub.from_url(redis_url) as hub:
        assert (-9, "") == await killed('python app.py "Why?"', 0, signal.SIGKILL)
        code, said = await killed("python app.py", 1, signal.SIGINT)
    async with await example.run("python app.py", STREAMHUB_URL=redis_url) as again:
        ended = await again.ended()

    assert (1, "\nThe answer goes on. To read the rest: python app.py\n") == (code, said)
    assert (0, f"{SAID[2]}\n[finished]\n") == ended


async def test_the_shell_goes_on_at_a_cursor(example: Example) -> None:
    """What ``tail`` says when it is interrupted is where it goes on."""
    (example.folder / "after 5").touch()
    run = 'streamhub --redis redis://localhost:6379/0 run chat:1 -- python model.py "Why?"'
    tail = "streamhub --redis redis://localhost:6379/0 tail chat:1"
    rest_of = 'streamhub --redis redis://localhost:6379/0 tail chat:1 --after "$CURSOR"'
    begun = SAID[0] + SAID[1]
    async with await example.run(run) as writing:
        assert begun == await writing.read(len(begun))
        async with await example.run(tail) as reading:
            assert begun == await reading.read(len(begun))
            reading.signal(signal.SIGINT)
            assert (130, "") == await reading.ended()
            (cursor,) = re.findall(r"--after (\S+)", reading.said)
        (example.folder / "after 10").touch()
        async with await example.run(rest_of, CURSOR=cursor) as again:
            assert (0, SAID[2]) == await again.ended()
