"""The site of the documentation: it can be built, and describes all that is public."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import streamhub
from streamhub import StreamHubError, errors

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


@pytest.mark.integrations
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Every link between pages, every name and every block that is drawn is right."""
    # What `make docs` does, without writing pages and their copies.
    asked = ["--builder", "dummy", "-D", "extensions=myst_parser,sphinx.ext.autodoc"]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", *asked, ROOT / "docs", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (built.returncode, built.stderr)


def test_every_block_names_a_language_that_is_highlighted() -> None:
    """One that Pygments does not know stops `make docs`; without one, drawings look like Python."""
    pages = [page.read_text() for page in (ROOT / "docs").rglob("*.md")]
    fences = [name for page in pages for name in re.findall(r"^ *```(.*)$", page, re.MULTILINE)]
    named = {name for name in fences[::2] if not name.startswith("{")}

    assert {"python", "sh"} <= named
    lexers = import_module("pygments.lexers")  # has no types
    for name in named:
        lexers.get_lexer_by_name(name)


def test_the_front_page_names_every_guide() -> None:
    """With a line of its own, beside the side bar."""
    front = (ROOT / "docs" / "index.md").read_text().partition("```{toctree}")[0]
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}

    assert set() == pages - set(re.findall(r"\]\(([\w-]+\.md)", front))


def test_every_error_has_a_cause_and_a_cure() -> None:
    """The page on errors has each of them in its table."""
    table = (REFERENCE / "errors.md").read_text().partition("## All of them")[0]
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))))
    all_of_them = {
        name
        for name in errors.__all__
        if isinstance(found := getattr(errors, name), type) and issubclass(found, StreamHubError)
    }

    assert all_of_them - {"StreamHubError"} == named


def test_the_reference_has_every_public_name() -> None:
    """Each name of the package is described on one of its pages."""
    pages = "".join(page.read_text() for page in REFERENCE.glob("*.md"))
    described = set(re.findall(r"autoclass:: (?:\w+\.)*(\w+)", pages)) | set(errors.__all__)

    assert set() == set(streamhub.__all__) - described - {"__version__"}
