"""What a strict type checker says to a program that uses the installed package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.built_package import build, wheel_environment

pytestmark = pytest.mark.integrations

CONSUMER = Path(__file__).parent / "consumer"
PROGRAMS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    return wheel_environment(build(folder), folder / "venv")


@pytest.fixture(scope="module")
def program(python: Path) -> Path:
    """Where the program stands: away from the source, and from its settings."""
    folder = python.parents[2] / "program"
    shutil.copytree(CONSUMER, folder / "consumer", ignore=shutil.ignore_patterns("__pycache__"))
    strict = {"typeCheckingMode": "strict", "include": ["consumer"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(strict))
    return folder


def _said(program: Path, *command: str | Path, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [PROGRAMS / command[0], *command[1:]],
        cwd=program,
        env={**os.environ, **environment},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def test_mypy_finds_nothing_to_say(python: Path, program: Path) -> None:
    """Strict, on what a program does; and each result has the type that is stated."""
    asked = ("--strict", "--config-file=", "--cache-dir=/dev/null", "--python-executable", python)
    # FastAPI, and what it brings, takes mypy as long as all else: it is left to pyright.
    code, said = _said(program, "mypy", *asked, "--exclude", "web.py", "consumer")

    assert (0, True) == (code, said.startswith("Success")), said


def test_pyright_finds_nothing_to_say(python: Path, program: Path) -> None:
    """The same, and it reads the types of the package in the same way."""
    code, said = _said(program, "basedpyright", "--pythonpath", python)

    assert (0, "0 errors, 0 warnings, 0 notes") == (code, said.strip().splitlines()[-1]), said


def test_a_checker_sees_a_mistake(python: Path, program: Path) -> None:
    """What the two above rely on: the types are there, and no Any."""
    wrong = "from streamhub import Hub\n\nhub: int = Hub()\nHub().register(1)\n"
    (program / "wrong.py").write_text(wrong)
    code, said = _said(program, "basedpyright", "--pythonpath", python, "wrong.py")

    assert 1 == code
    assert "reportAssignmentType" in said
    assert "reportArgumentType" in said
