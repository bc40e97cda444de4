"""Where one reads on: the documentation as this machine has it, or where the package says it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Self

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["Documentation"]

_DISTRIBUTION = "streamhub-llm"
#: Of a clone: a package that is installed from one runs from its src.
_CLONE = Path(__file__).resolve().parents[3]
_MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}
_TITLE = re.compile(r"^# +(.+)$", re.MULTILINE)
_FRAME = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>{title}</title>
    <link rel="stylesheet" href="/docs.css" />
  </head>
  <body>
    <nav><a href="/">The demo</a> <a href="/docs/index.md">All pages</a></nav>
    <main>{body}</main>
  </body>
</html>
"""


@dataclass(frozen=True)
class Documentation:
    """Pages of a clone, which are shown here, and the addresses that the package was released
    with. Either may be missing."""

    pages: Mapping[str, Path] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def found(cls) -> Self:
        """That of the package which is running."""
        try:
            urls: list[str] = metadata(_DISTRIBUTION).get_all("Project-URL") or []
        except PackageNotFoundError:
            urls = []
        return cls.of(_CLONE, urls)

    @classmethod
    def of(cls, clone: Path, urls: Sequence[str]) -> Self:
        """
        :param clone: a folder, which may be one.
        :param urls: as ``Project-URL`` in a package's metadata: a name, a comma, an address.
        """
        return cls(_pages_of(clone), _addresses_among(urls))

    def links(self) -> list[dict[str, str]]:
        """Where it goes on from the demo, as ``name`` and ``url``; none where nothing is known."""
        if "start.md" in self.pages:
            return [
                {"name": "Start", "url": "docs/start.md"},
                {"name": "All pages", "url": "docs/index.md"},
            ]
        return [{"name": name, "url": url} for name, url in self.addresses.items()]

    def page(self, path: str) -> tuple[str | bytes, str] | None:
        """What is shown under that path, and its media type."""
        if (file := self.pages.get(path)) is None:
            return None
        if media_type := _MEDIA.get(file.suffix):
            return file.read_bytes(), media_type
        text = file.read_text(encoding="utf-8")
        title = found[1] if (found := _TITLE.search(text)) else path
        return _FRAME.format(title=escape(title), body=self._rendered(text, path)), "text/html"

    def _rendered(self, text: str, path: str) -> str:
        markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        tokens = markdown.parse(text)
        used: set[str] = set()
        for token, inline in zip(tokens, [*tokens[1:], None], strict=True):
            if token.type == "heading_open" and inline is not None:
                token.attrSet("id", _anchor(inline.content, used))
            if token.type == "inline":
                self._lead_somewhere(token.children or [], path)
        # What only the site's generator understands, such as its tables of contents.
        tokens = [token for token in tokens if not token.info.startswith("{")]
        return str(markdown.renderer.render(tokens, markdown.options, {}))

    def _lead_somewhere(self, tokens: list[Token], path: str) -> None:
        """Take the link from what is not among the pages: it is text then."""
        open_links: list[bool] = []
        for token in tokens:
            if token.type == "link_open":
                open_links.append(self._leads(str(token.attrGet("href")), path))
                if not open_links[-1]:
                    token.tag, token.attrs = "span", {}
            elif token.type == "link_close" and not open_links.pop():
                token.tag = "span"

    def _leads(self, href: str, path: str) -> bool:
        place = href.partition("#")[0]
        return (
            not place
            or href.startswith(("https:", "http:"))
            or normpath(join(dirname(path), place)) in self.pages
        )


def _pages_of(clone: Path) -> dict[str, Path]:
    """By their path below docs; those of the reference are made of docstrings, and not here."""
    docs = clone / "docs"
    if not (clone / "src" / "streamhub").is_dir():
        return {}
    return {
        file.relative_to(docs).as_posix(): file
        for file in sorted(docs.rglob("*"))
        if file.suffix in {".md", *_MEDIA} and file.parent.name != "reference"
    }


def _addresses_among(urls: Sequence[str]) -> dict[str, str]:
    """Those that lead anywhere: before a release they are paths of the repository."""
    pairs = (one.partition(", ")[::2] for one in urls)
    wanted = ("Start", "Documentation")
    return {name: url for name, url in pairs if name in wanted and url.startswith("https:")}


def _anchor(heading: str, used: set[str]) -> str:
    """As pages name the headings of each other."""
    words = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
    name, number = words, 0
    while name in used:
        number += 1
        name = f"{words}-{number}"
    used.add(name)
    return name
