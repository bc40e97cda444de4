"""``streamhub demo``: it plays without Redis, and its proof is one."""

from __future__ import annotations

import re
import sys

import pytest

from streamhub.cli.demo.story import STORY, tokens

from .cli_process import cli

# Runs the demo after breaking something in it.
_BROKEN = "import sys\n{sabotage}\nfrom streamhub.cli import main\nmain()"


async def test_it_ends_by_proving_that_all_texts_are_equal() -> None:
    """Every reader, the producer and the store show one length and one digest; the exit is 0."""
    ended = await cli("demo")
    assert (0, "") == (ended.code, ended.err)
    shown = re.findall(r"^ +(.+?) +(\d+) characters  sha256 (\w+)  equal", ended.out, re.MULTILINE)
    *story, stopped = shown
    assert ["published", "reader 1", "reader 2", "reader 3", "store"] == [row[0] for row in story]
    assert {str(len(STORY))} == {row[1] for row in story}
    assert 1 == len({row[2] for row in story})
    assert "reader 4" == stopped[0]
    assert "nothing lost, nothing doubled" in ended.out


async def test_it_is_readable_without_a_terminal() -> None:
    """Elsewhere it tells what happens line by line, in plain text, and what to try next."""
    out = (await cli("demo", env={"FORCE_COLOR": "1"})).out
    assert not set("\x1b╭│") & set(out)
    for happening in (
        "reader 1  subscribes on another hub",
        "reader 2  loses its connection after",
        "reader 2  resumes with after=",
        "reader 3  comes after",
        "stop      is pressed elsewhere",
        "reader 4  sees the end too: cancelled",
        "streamhub run chat:1 -- ",
    ):
        assert happening in out


@pytest.mark.parametrize("mistake", ["lost", "doubled"])
async def test_it_fails_when_a_reader_holds_another_text(mistake: str) -> None:
    """A reader that lost a chunk, or got one twice, is shown, and the exit code is 1."""
    text = "self.text" if mistake == "lost" else "self.text + chunk.data * 2"
    sabotage = (
        "from streamhub.cli.demo.stage import Actor\n"
        "take = Actor.take\n"
        "def broken(self, chunk):\n"
        "    if self.name != 'reader 2' or self.chunks != 9: take(self, chunk)\n"
        f"    else: self.chunks += 1; self.text = {text}\n"
        "Actor.take = broken"
    )
    source = _BROKEN.format(sabotage=sabotage)
    ended = await cli("demo", python=(sys.executable, "-c", source))
    assert 1 == ended.code
    assert ["reader 2"] == re.findall(
        r"^ +(.+?) +\d+ characters .*DIFFERENT", ended.out, re.MULTILINE
    )
    assert "this is a bug in streamhub" in ended.out


async def test_it_needs_no_redis() -> None:
    """The demo runs where the redis package is not even installed, and ignores STREAMHUB_URL."""
    source = _BROKEN.format(sabotage="sys.modules['redis'] = None")
    ended = await cli("demo", python=(sys.executable, "-c", source), url="redis://127.0.0.1:1/0")
    assert 0 == ended.code


def test_tokens_make_the_text() -> None:
    """The pieces that the demo publishes are many, short, and all of the text."""
    pieces = tokens(STORY)
    assert STORY == "".join(pieces)
    assert all(0 < len(piece) <= 10 for piece in pieces)
    assert len(pieces) > 150
