"""Who may import whom: the layers of the package, read from its source."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from ..support.package_source import imports, modules

VALUES = {
    "chunks": set[str](),
    "config": set[str](),
    "errors": {"chunks", "wording"},
    "ids": {"errors"},
    "instruments": {"instruments.dispatch", "instruments.events"},
    "instruments.dispatch": {"instruments.events"},
    "instruments.events": {"chunks", "statistics"},
    "instruments.lag": set[str](),
    "metadata_json": set[str](),
    "end": {"chunks", "parts.spoken", "parts.ui_message"},
    "parts": {
        "parts.coding",
        "parts.folding",
        "parts.kinds",
        "parts.ui_message",
        "parts.ui_stream",
    },
    "parts.coding": {"chunks", "errors", "parts", "parts.kinds", "wording"},
    "parts.folding": {"chunks", "parts.message", "parts.ui_message", "parts.ui_stream"},
    "parts.kinds": set[str](),
    "parts.calls": set[str](),
    "parts.message": {"parts.calls", "parts.partial_json", "parts.ui_message"},
    "parts.partial_json": set[str](),
    "parts.spoken": {"chunks"},
    "parts.ui_message": set[str](),
    "parts.ui_stream": {"chunks", "errors", "parts.coding", "parts.kinds"},
    "reasons": {"errors"},
    "signals": set[str](),
    "statistics": set[str](),
    "wording": set[str](),
}
#: What a store promises.
PROMISES = (
    "stores.base",
    "stores.feeds",
    "stores.live_events",
    "stores.operations",
    "stores.watch",
)
#: What finds a store by its scheme, and so may name all of them.
DOOR = "stores.open_store"
#: What a user's program meets first: from here down the floors are counted. Doors to the outside
#: stand on top.
ROOF = "hub"
MOST_FLOORS = 11
#: Where hubs are put together from their parts.
MAY_NAME_A_STORE = ("hub", "cli", "demo", "testing")
OWNERS = {
    "redis": ("stores.redis",),
    "hiredis": ("stores.redis",),
    # The demo is an application: it brings what an application brings.
    "starlette": ("http", "gateway", "demo"),
    "uvicorn": ("http", "demo"),
    "openai": ("demo",),
    "httpx": ("http",),
    "standardwebhooks": ("http",),
    "a2a": ("a2a",),
    "agno": ("agno",),
    "assistant_stream": ("assistant_stream",),
    "celery": ("celery",),
    "taskiq": ("taskiq",),
    "langgraph": ("http.langgraph",),
    "langchain_core": ("http.langgraph",),
    "django": ("django",),
    "flask": ("flask",),
    "aiohttp": ("aiohttp", "gateway"),
    "typer": ("cli",),
    "rich": ("cli",),
    "textual": ("cli.top",),
    "pytest": ("testing",),
    "prometheus_client": ("instruments.prometheus",),
    "opentelemetry": ("instruments.opentelemetry",),
}


def _is_in(module: str, layer: str) -> bool:
    return module == layer or module.startswith(f"{layer}.")


@pytest.mark.parametrize("module", VALUES)
def test_values_import_nothing_of_ours(module: str) -> None:
    """Values know no other layer; errors may speak of chunks."""
    assert imports(module)[0] <= VALUES[module]


def test_formats_know_values_alone() -> None:
    """How a log looks in a dialect is pure: no store, no hub and no framework is known there."""
    formats = [name for name in modules() if _is_in(name, "formats")]
    wrong = {
        (module, imported)
        for module in formats
        for imported in imports(module)[0]
        if imported not in VALUES and not _is_in(imported, "formats")
    }

    assert "formats.ui_messages" in formats
    assert set() == wrong


def test_a_translation_knows_nothing_else() -> None:
    """What the dialects of a gateway are to each other is pure: it is tested by itself."""
    room = [name for name in modules() if _is_in(name, "gateway.translation")]
    wrong = {
        (module, imported)
        for module in room
        for imported in imports(module)[0]
        if not _is_in(imported, "gateway.translation")
    }

    assert "gateway.translation.answering" in room
    assert set() == wrong


def test_stores_know_values_and_no_other_store() -> None:
    """A store imports values, what stores promise, and what belongs to that store itself."""
    stores = [name for name in modules() if name.startswith("stores.") and name != DOOR]
    wrong = {
        (store, imported)
        for store in stores
        for imported in imports(store)[0]
        if imported not in {*VALUES, *PROMISES}
        and not _is_in(imported, ".".join(store.split(".")[:2]))
    }

    assert {"stores.base", "stores.memory"} <= set(stores)
    assert set() == wrong


def test_only_the_edges_name_a_concrete_store() -> None:
    """All that moves data knows what stores promise, and no more."""
    wrong = {
        (module, imported)
        for module in modules()
        if not any(_is_in(module, edge) for edge in (*MAY_NAME_A_STORE, "stores"))
        for imported in imports(module)[0]
        if _is_in(imported, "stores") and imported not in (*PROMISES, DOOR)
    }

    assert set() == wrong


def test_the_two_wings_do_not_know_each_other() -> None:
    """What produces and what reads meet in the store, and nowhere else."""
    wings = {"producing": "reading", "reading": "producing"}
    wrong = {
        (module, imported)
        for wing, other in wings.items()
        for module in modules()
        if _is_in(module, wing)
        for imported in imports(module)[0]
        if _is_in(imported, other)
    }

    assert all(any(_is_in(module, wing) for module in modules()) for wing in wings)
    assert set() == wrong


@pytest.mark.parametrize("room", [ROOF, "stores"])
def test_there_are_few_floors(room: str) -> None:
    """A chain of imports that is longer makes each change at its end one of everything above it:
    break it where a module needs no more of the next than a value or a function."""
    floors: dict[str, tuple[str, ...]] = {}
    left = {name: imports(name, when_called=False)[0] - {name} for name in modules()}
    while free := [name for name in left if not left[name] & left.keys()]:
        for name in free:
            below = [floors[one] for one in left.pop(name) if one in floors]
            floors[name] = (name, *max(below, key=len, default=()))
    highest = max((floors[name] for name in floors if _is_in(name, room)), key=len)

    assert len(highest) <= MOST_FLOORS, " imports ".join(highest)


def test_no_modules_import_each_other_in_a_ring() -> None:
    """Not even for their types: each module can be understood once those that it imports are."""
    left = {name: imports(name)[0] for name in modules()}
    while free := {name for name, imported in left.items() if not imported & left.keys()}:
        left = {name: imported for name, imported in left.items() if name not in free}

    assert {} == left


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_has_one_owner(library: str) -> None:
    """What the core does without is imported by the part that needs it alone."""
    importers = {module for module in modules() if library in imports(module)[1]}

    assert importers
    assert set() == {
        module
        for module in importers
        if not any(_is_in(module, owner) for owner in OWNERS[library])
    }


def test_the_demo_is_an_application_like_any_other() -> None:
    """It uses what the package and ``streamhub.http`` export. The stores are the exception: memory
    is shared by two hubs, and a producer that crashes there is cut off from it."""
    allowed = {"", "http", "stores.base", "stores.memory", "stores.wrapped", "testing"}
    wrong = {
        (module, imported)
        for module in modules()
        if _is_in(module, "demo")
        for imported in imports(module)[0]
        if imported not in allowed and not _is_in(imported, "demo")
    }

    assert {"demo.web", "demo.answer"} <= set(modules())
    assert set() == wrong


def test_importing_the_package_loads_no_extra() -> None:
    """``import streamhub`` works, and stays light, where only the core is installed; so do the
    sources, which import no provider's client."""
    names = "{name.partition('.')[0] for name in sys.modules}"
    program = f"import sys, streamhub, streamhub.sources; print(*{names})"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()

    assert "streamhub" in loaded
    assert set() == set(OWNERS) & set(loaded)


#: What a program that streams text never needs: each process would wait for it.
LATE = (
    *("anyio", "hashlib", "importlib.metadata", "json", "secrets", "sqlite3", "tempfile"),
    *("http.client", "streamhub.producing.provider_errors"),
    *("streamhub.sync", "streamhub.sources", "streamhub.http", "streamhub.formats"),
    *("streamhub.board", "streamhub.stores.memory", "streamhub.stores.redis"),
    *("streamhub.parts.folding", "streamhub.parts.message", "streamhub.parts.ui_stream"),
    "streamhub.testing",
)


def test_importing_the_package_loads_only_what_a_first_program_runs() -> None:
    """What reads parts, what else one may import, and seldom used modules of Python come later."""
    program = f"import sys, streamhub; print(*(set({LATE!r}) & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()

    assert [] == loaded


MACHINES = ("producing.phase", "producing.pacing", "producing.repair", "producing.outbox")


@pytest.mark.parametrize("module", MACHINES)
def test_what_decides_knows_no_event_loop(module: str) -> None:
    """A machine is driven by its inputs, the time among them: it waits for nothing, and asks no
    clock."""
    assert module in modules()
    assert set() == imports(module)[1] & {"asyncio", "time", "threading", "datetime"}
    assert not [
        node
        for node in ast.walk(ast.parse(modules()[module].read_text()))
        if isinstance(node, ast.AsyncFunctionDef | ast.Await)
    ]


@pytest.mark.parametrize("module", [name for name in modules() if name.startswith("producing.")])
def test_a_class_holds_at_most_twenty_attributes(module: str) -> None:
    """More of them are several things in one."""
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.ClassDef):
            held = {
                one.attr
                for one in ast.walk(node)
                if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)
                if isinstance(one.value, ast.Name) and one.value.id == "self"
            }
            assert 20 >= len(held), (node.name, sorted(held))
