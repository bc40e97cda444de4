"""The folder of examples: each stands in the table, is complete, and is run as it says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from .following import EXAMPLES, commands_of

ROOT = EXAMPLES.parent
FOLDERS = sorted(one for one in EXAMPLES.iterdir() if one.is_dir() and one.name[0] not in "._")
TABLE = re.findall(
    r"^\| \[(\w+)\]\((.*?)\) \|.*\| `(.*?)` \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def test_every_example_stands_in_the_table() -> None:
    """With a link to its page, and a command that stands there, too."""
    named = [(folder.name, f"{folder.name}/README.md") for folder in FOLDERS]

    assert sorted((name, link) for name, link, _ in TABLE) == named
    for name, _, command in TABLE:
        assert command in commands_of(EXAMPLES / name)


def test_examples_are_checked_and_packed_like_the_rest() -> None:
    """By the type checker and the linter, and into the source distribution."""
    tools = PROJECT["tool"]
    linted = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--show-files", EXAMPLES],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "examples" in tools["mypy"]["files"]
    assert "/examples" in tools["hatch"]["build"]["targets"]["sdist"]["include"]
    assert all(str(folder / "app.py") in linted.stdout for folder in FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_example_is_complete(folder: Path) -> None:
    """It has a page, which begins with at most four commands, a program, and what that needs."""
    page = (folder / "README.md").read_text()
    first = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[0].splitlines()

    assert page.startswith("# ")
    assert "pip install -r requirements.txt" == first[0]
    assert len(first) <= 4
    assert (folder / "app.py").is_file()
    assert "## Try this" in page


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_commands_of_an_example_are_run(folder: Path) -> None:
    """Each stands in the test of its name as it stands on its page."""
    test = (Path(__file__).parent / f"test_{folder.name}.py").read_text()
    run = {
        node.value
        for node in ast.walk(ast.parse(test))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }

    assert [] == [command for command in commands_of(folder) if command not in run]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_requirements_of_an_example_are_those_it_is_tested_with(folder: Path) -> None:
    """They allow what is installed here, ask for extras that there are, and cover its imports."""
    lines = (folder / "requirements.txt").read_text().splitlines()
    asked = [Requirement(line) for line in lines if line and line[0] != "#"]
    ours = next(one for one in asked if one.name == "streamhub-llm")

    assert set() == ours.extras - EXTRAS.keys()
    for one in asked:
        try:
            assert one.specifier.contains(version(one.name), prereleases=True), one
        except PackageNotFoundError:
            pytest.skip(f"{one.name} is not in this environment")
    extras = [Requirement(line) for extra in _with_theirs(ours.extras) for line in EXTRAS[extra]]
    # What is called slim is imported as the whole of it.
    names = {one.name.replace("-", "_").removesuffix("_slim") for one in [*asked, *extras]}
    known = (
        names
        | {"streamhub"}
        | sys.stdlib_module_names
        | {path.stem for path in folder.glob("*.py")}
    )

    assert set() == _imported(folder) - known


def _with_theirs(extras: set[str]) -> set[str]:
    """Extras, and the extras that these ask for."""
    asked = [Requirement(line) for extra in extras for line in EXTRAS[extra]]
    more = {extra for one in asked if one.name == "streamhub-llm" for extra in one.extras}
    return extras if more <= extras else _with_theirs(extras | more)


def _imported(folder: Path) -> set[str]:
    """What the program imports where it begins: what it imports later is for those who want it."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                found |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found
