"""What is imported without the extra that it needs says which one that is."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Arguments: the module, and the libraries that are not there.
PROGRAM = """
import importlib, sys

module, *libraries = sys.argv[1:]

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in libraries:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
try:
    importlib.import_module(module)
except ModuleNotFoundError as missing:
    print(missing, missing.name, sep="\\n")
"""


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("streamhub.http", "starlette", "http"),
        ("streamhub.gateway", "aiohttp", "gateway"),
        ("streamhub.gateway", "starlette", "gateway"),
        ("streamhub.testing.conformance", "pytest", "testing"),
        ("streamhub.testing.fixtures", "pytest", "testing"),
        ("streamhub.a2a", "a2a", "a2a"),
        ("streamhub.agno", "agno", "agno"),
        ("streamhub.assistant_stream", "assistant_stream", "assistant-stream"),
        ("streamhub.celery", "celery", "celery"),
        ("streamhub.taskiq", "taskiq", "taskiq"),
        ("streamhub.django", "django", "django"),
        ("streamhub.flask", "flask", "flask"),
        ("streamhub.aiohttp", "aiohttp", "aiohttp"),
        ("streamhub.instruments.prometheus", "prometheus_client", "prometheus"),
        ("streamhub.instruments.opentelemetry", "opentelemetry", "opentelemetry"),
        ("streamhub.stores.redis", "redis", "redis"),
        ("streamhub.stores.redis", "hiredis", "redis"),
    ],
)
def test_a_module_names_its_extra(module: str, library: str, extra: str) -> None:
    """And the library, to people and to programs."""
    said = _import(module, library)

    assert [f'{module} needs {library}: pip install "streamhub-llm[{extra}]"', library] == said


@pytest.mark.parametrize("module", ["streamhub", "streamhub.sync", "streamhub.formats"])
def test_the_core_needs_no_extra(module: str) -> None:
    """It is imported without any of them."""
    libraries = ("starlette", "redis", "hiredis", "pytest", "typer", "uvicorn")
    assert [] == _import(module, *libraries)


#: Argument: the library that is not there.
ROUTER = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from streamhub import Hub
from streamhub.http import chat_router, chat_routes

chat_routes(Hub(), lambda body: ["a"])
try:
    chat_router(Hub(), lambda body: ["a"])
except ModuleNotFoundError as missing:
    print(missing, missing.name, sep="\\n")
"""


def test_a_router_names_its_extra() -> None:
    """All else of the HTTP side needs no FastAPI."""
    done = subprocess.run(
        [sys.executable, "-c", ROUTER, "fastapi"], check=True, capture_output=True, text=True
    )

    assert [
        'streamhub.http.chat_router needs fastapi: pip install "streamhub-llm[fastapi]"',
        "fastapi",
    ] == done.stdout.splitlines()


def test_what_else_is_missing_is_not_blamed_on_the_extra() -> None:
    """A dependency of the package itself that is not there names itself."""
    assert "msgspec" == _import("streamhub.http", "msgspec")[-1]


def _import(module: str, *libraries: str) -> list[str]:
    program = [sys.executable, "-c", PROGRAM, module, *libraries]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()
