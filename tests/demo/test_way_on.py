"""What the demo's page ends with: its code, and the documentation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from posixpath import dirname, join, normpath

import pytest

from streamhub.demo.documentation import Documentation

#: How answers are claimed, written, continued, followed and stopped.
USES = re.compile(r"\b(?:hub\.run|hub\.supervise|stream\.publish|stream\.cancel|SSEResponse)$")


def test_the_code_that_is_shown_is_all_that_the_demo_does_with_streamhub() -> None:
    """It has every such call, no other module of the demo has one, and these call each of its
    functions."""
    trees = {
        entry.name: ast.parse(entry.read_text())
        for entry in files("streamhub.demo").iterdir()
        if entry.name.endswith(".py")
    }
    shown = trees.pop("essence.py")
    functions = {
        f"essence.{node.name}"
        for node in shown.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    elsewhere = {name: set(_called(tree)) for name, tree in trees.items()}

    assert 5 == len({call for call in _called(shown) if USES.search(call)})
    assert [] == [
        (name, call) for name in elsewhere for call in elsewhere[name] if USES.search(call)
    ]
    assert functions == {call for calls in elsewhere.values() for call in calls} & functions


def _called(tree: ast.Module) -> Iterator[str]:
    """The functions of all calls, as they are written."""
    return (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_no_link_of_the_documentation_is_dead() -> None:
    """A clone's pages are shown with their pictures, and what leads to no page is no link."""
    documentation = Documentation.found()
    assert ["docs/start.md", "docs/index.md"] == [link["url"] for link in documentation.links()]
    places = {path: _places(documentation, path) for path in documentation.pages if ".md" in path}
    assert "guarantees.md" in {page for page, _ in places["start.md"][1]}

    for path, (_, leading) in places.items():
        for page, anchor in leading:
            assert page in documentation.pages, f"{path} leads to {page}"
            assert not anchor or anchor in places[page][0], f"{path} leads to {page}#{anchor}"


def _places(documentation: Documentation, path: str) -> tuple[set[str], list[tuple[str, str]]]:
    """The anchors of a page, and where its links and pictures lead to here."""
    found = documentation.page(path)
    assert found is not None
    assert "text/html" == found[1]
    reader = _Reader()
    reader.feed(str(found[0]))
    leading = [
        (normpath(join(dirname(path), page)) if page else path, anchor)
        for page, _, anchor in (place.partition("#") for place in reader.places)
    ]
    return reader.anchors, leading


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.places: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name in ("href", "src") and value and not value.startswith(("http", "/")):
                self.places.append(value)


@pytest.mark.parametrize(
    ("urls", "links"),
    [
        (["Start, https://example.org/start", "Issues, https://example.org/"], ["Start"]),
        (["Start, docs/start.md"], []),
        ([], []),
    ],
)
def test_without_a_clone_links_are_those_that_the_package_was_released_with(
    urls: list[str], links: list[str], tmp_path: Path
) -> None:
    """A path in a repository is no address, and a folder of somebody else's is no clone."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "start.md").write_text("# Somebody else's")

    documentation = Documentation.of(tmp_path, urls)
    assert links == [link["name"] for link in documentation.links()]
    assert documentation.page("start.md") is None
