"""What the pages tell to type, and how their code is kept running: by a test of each page."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from streamhub.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

_GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = _GROUP.commands


def _id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@cache
def _tests() -> list[str]:
    rooms = [room for room in (ROOT / "tests").iterdir() if room.is_dir()]
    # The packages of the browser's tests are a forest.
    paths = [path for room in rooms for path in room.glob("*.py")]
    paths += [path for room in rooms for path in room.glob("[!n]*/*.py")]
    return [path.read_text() for path in paths if path != Path(__file__)]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=_id)
def test_the_python_of_a_page_is_run_by_a_test(page: Path) -> None:
    """Some test names the page, and what each of its functions is called; a function that another
    one of the page calls, or a decorator registers, needs no more."""
    naming = "".join(text for text in _tests() if re.search(rf"\b{page.name}\b", text))
    code = "\n".join(blocks(page, "python"))
    # One block may define again what another one has.
    defined = [one for block in blocks(page, "python") for one in ast.parse(block).body]
    functions = [
        one.name
        for one in defined
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        and not (one.decorator_list or one.name.startswith("test_"))
    ]
    called = [name for name in functions if len(re.findall(rf"\b{name}\b", code)) > 1]

    assert naming, "no test runs it"
    assert [] == [
        name for name in functions if name not in called and not re.search(rf"\b{name}\b", naming)
    ]


def _typed(page: Path) -> Iterator[str]:
    """What is to be typed into a shell: lines of blocks, and what prose has as code."""
    for block in blocks(page, "sh"):
        yield from re.split(r"[|;&\n]|\s#", block)
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", prose)


def _is_known(command: str, options: str) -> bool:
    """Whether the command line has it."""
    if command not in COMMANDS:
        return False
    given = re.findall(r"(?<= |\[)--?\w[\w-]*", options.partition(" -- ")[0])
    known = {name for one in COMMANDS[command].params for name in one.opts}
    return {*given} <= {*known, "--help"}


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_commands_of_a_page_are_there(page: Path) -> None:
    """Each command of ``streamhub``, with each option; each extra; each target of make."""
    text = page.read_text()
    extras = {
        name.strip()
        for names in re.findall(r"streamhub-llm\[([\w, -]+)\]", text)
        for name in names.split(",")
    }
    typed = [*_typed(page)]
    commands = [
        match.groups()
        for line in typed
        if (match := re.match(r" *(?:[A-Z_]+=\S+ )*streamhub (?:--redis \S+ )?([a-z]+)(.*)", line))
    ]
    targets = {match[1] for line in typed if (match := re.match(r"make (\w+)", line))}
    made = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert [] == [one for one in commands if not _is_known(*one)]
    assert set() == extras - {*EXTRAS}
    assert set() == targets - made


def test_javascript_of_the_pages_can_be_parsed(tmp_path: Path) -> None:
    """As a module. What they do is run with the stock clients, in tests/browser and
    tests/integrations, where React and its build are."""
    scripts = {
        f"{page.stem} {number}": block
        for page in PAGES
        for number, block in enumerate(blocks(page, "js"))
    }
    given = tmp_path / "scripts.json"
    given.write_text(json.dumps(scripts))
    parse = """
        const scripts = JSON.parse(require("fs").readFileSync(process.argv[1]))
        for (const [name, code] of Object.entries(scripts))
          try { new (require("vm").SourceTextModule)(code) }
          catch (error) { console.log(name, error.message) }
    """
    node = Path(sys.executable).with_name("node")
    done = subprocess.run(
        [node, "--experimental-vm-modules", "--no-warnings", "-e", parse, given],
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(scripts) > 8
    assert "" == done.stdout


def test_settings_of_the_pages_can_be_parsed() -> None:
    """YAML and TOML."""
    for page in PAGES:
        for block in blocks(page, "yaml"):
            assert [*yaml.safe_load_all(block)], page
        for block in blocks(page, "toml"):
            assert tomllib.loads(block), page
