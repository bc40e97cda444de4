"""The locks in ``requirements``: they hold what pyproject.toml asks for. ``tools/lock.py`` renews
them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_PINNED = re.compile(r"([a-z0-9-]+)==(\S+)(?: ; ([^\\]+?))?(?: \\)?")


def _asked(*extras: str) -> list[Requirement]:
    """What these extras ask for, with those that they name."""
    asked = [Requirement(one) for one in PROJECT["dependencies"]]
    left, seen = [*extras], set[str]()
    while left:
        extra = left.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for one in map(Requirement, PROJECT["optional-dependencies"][extra]):
            if one.name == PROJECT["name"]:
                left += one.extras
            else:
                asked.append(one)
    return asked


def _locked(name: str) -> dict[str, set[Version]]:
    """The versions of each package: one, or several for different platforms."""
    locked: dict[str, set[Version]] = {}
    for line in (LOCKS / f"{name}.txt").read_text().splitlines():
        if (pinned := _PINNED.fullmatch(line)) is not None:
            locked.setdefault(pinned[1], set()).add(Version(pinned[2]))
    return locked


@pytest.mark.parametrize(
    ("name", "extras"), [("dev", ["dev"]), ("integrations", ["integrations", "bench"])]
)
def test_a_lock_holds_what_is_asked_for(name: str, extras: list[str]) -> None:
    """Each package, in a version that pyproject.toml allows. If not: ``tools/lock.py``."""
    locked = _locked(name)
    missing = [
        str(one)
        for one in _asked(*extras)
        if not any(map(one.specifier.contains, locked.get(canonicalize_name(one.name), ())))
    ]

    assert [] == missing


def test_both_locks_agree() -> None:
    """One environment serves `make check` and `make test`."""
    everything = _locked("integrations")

    assert {} == {
        name: versions
        for name, versions in _locked("dev").items()
        if versions != everything.get(name)
    }


@pytest.mark.parametrize("path", sorted(LOCKS.glob("*.txt")), ids=lambda path: path.stem)
def test_a_lock_names_packages_and_nothing_else(path: Path) -> None:
    """No index and no address: whoever installs it says where from. What is for development is
    proved by hashes."""
    hashed = path.stem != "lowest"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    pinned = [line for line in lines if _PINNED.fullmatch(line)]
    hashes = [line for line in lines if re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)]

    assert len(lines) == len(pinned) + len(hashes)
    assert hashed == bool(hashes)
    assert not hashed or all(line.endswith("\\") for line in pinned)


def test_what_is_tested_as_the_lowest_is_the_lowest() -> None:
    """Every lower bound of what users may install, as it stands in pyproject.toml."""
    locked = _locked("lowest")
    bounds: dict[str, Version] = {
        canonicalize_name(one.name): max(
            Version(bound.version) for bound in one.specifier if bound.operator == ">="
        )
        for one in _asked("all", "fastapi")
    }
    # A package that several extras name is tested with the highest of their bounds.
    assert {} == {
        name: (bound, locked.get(name))
        for name, bound in bounds.items()
        if not any(version >= bound for version in locked.get(name, ()))
    }
    assert set() == {
        name
        for name in ("anyio", "msgspec", "redis", "hiredis", "starlette", "typer", "uvicorn")
        if locked[name] != {bounds[name]}
    }
