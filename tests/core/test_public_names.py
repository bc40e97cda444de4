"""Which names are public: what a module says, what it has, and what the reference describes, are
the same."""

from __future__ import annotations

import importlib
import pydoc
import re
from pathlib import Path
from types import ModuleType

import pytest

import streamhub
from streamhub import errors

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
ERRORS = {
    name
    for name in errors.__all__
    if isinstance(kind := getattr(errors, name), type) and issubclass(kind, errors.StreamHubError)
}
#: What needs no package that only some tests have.
MODULES = (
    *("asgi", "deliveries", "errors", "formats", "gateway", "http", "instruments", "parts"),
    *("instruments.events", "instruments.logging", "instruments.prometheus", "sources"),
    *("stores.base", "stores.memory", "stores.redis", "sync", "testing", "testing.conformance"),
    *("testing.fixtures", "wsgi"),
)


def _pages() -> str:
    return "".join(page.read_text() for page in sorted(REFERENCE.glob("*.md")))


def _described() -> tuple[set[str], set[str]]:
    """The modules whose ``__all__`` the reference describes, and the names that it describes one by
    one."""
    current, whole, single = "streamhub", set[str](), set[str]()
    for kind, name in re.findall(r"^\.\. (\w+):: (\S+)", _pages(), re.MULTILINE):
        if kind in ("currentmodule", "module"):
            current = name
        elif kind == "automodule":
            whole.add(name)
        elif kind in ("autoclass", "autofunction", "autoexception", "autodata"):
            single.add(name if name.startswith("streamhub.") else f"{current}.{name}")
    return whole, single


def test_the_package_has_what_it_says_and_nothing_else() -> None:
    """What ``__all__`` lists, all errors, and modules: nothing that was only imported for them."""
    has = {
        name
        for name, value in vars(streamhub).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert ({*streamhub.__all__} | ERRORS) - {"__version__"} == has
    assert sorted(streamhub.__all__) == streamhub.__all__


@pytest.mark.parametrize("name", MODULES)
def test_a_module_defines_nothing_beside_what_it_says(name: str) -> None:
    """Whatever is defined in a public module, and has no underscore, stands in its ``__all__``."""
    module = importlib.import_module(f"streamhub.{name}")
    own = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }

    assert set() == own - {*module.__all__}
    assert [] == [name for name in module.__all__ if not hasattr(module, name)]


@pytest.mark.parametrize("name", MODULES)
def test_the_reference_describes_a_module(name: str) -> None:
    """As a whole, or each of its names."""
    whole, single = _described()
    module = importlib.import_module(f"streamhub.{name}")
    names = {f"{module.__name__}.{one}" for one in module.__all__}

    assert module.__name__ in whole or set() == names - single


def test_what_the_reference_describes_is_public() -> None:
    """Each name that it describes by itself is one that a module gives out."""
    hidden = []
    for name in _described()[1]:
        place, _, one = name.rpartition(".")
        if place.partition(".")[2] not in ("celery", "agno"):
            module = importlib.import_module(place)
            hidden += [] if one in {*module.__all__} | ERRORS else [name]

    assert [] == hidden


@pytest.mark.parametrize("name", ["", ".sync", ".http", ".sources", ".parts", ".gateway"])
def test_all_that_is_public_has_a_docstring(name: str) -> None:
    """Classes and functions, and methods and properties of the former."""
    module = importlib.import_module(f"streamhub{name}")
    silent = []
    for one in module.__all__:
        value = getattr(module, one)
        if not getattr(value, "__module__", "").startswith("streamhub"):
            continue
        silent += [] if value.__doc__ else [one]
        for part, member in vars(value).items() if isinstance(value, type) else ():
            if not part.startswith("_") and (callable(member) or isinstance(member, property)):
                silent += [] if member.__doc__ or part in INTERNAL else [f"{one}.{part}"]

    assert [] == silent


#: What our own modules alone call.
INTERNAL = {"held", "listed"}


def test_help_is_about_what_one_uses() -> None:
    """``help(streamhub)`` begins with what to do; how errors are made and pickled is not in it."""
    told = pydoc.plain(pydoc.render_doc(streamhub))
    classes = set(re.findall(r"^    class (\w+)", told, re.MULTILINE))

    assert "Hub.from_url" in told.partition("PACKAGE CONTENTS")[0]
    assert {*streamhub.__all__} - {"__version__"} == classes
    assert "Helper for pickle" not in told.partition("    class Status")[0]
