"""Check that a tag can be released, and give the package's page links that lead somewhere.

    python3 tools/release.py v1.2.3 ADDRESS

ADDRESS is where the repository can be seen. Changes README.md and pyproject.toml, in which
documents are named by their place in the repository: not for a working copy. Prints the notes of
the release. Needs only the standard library.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_LINK = re.compile(r"(!?)(\[[^]]*\])\((?!https?:|#)([^)\s]+)\)")
_URLS = re.compile(r"^\[project\.urls\]\n(?:[^\[].*\n|\n)*", re.MULTILINE)
_URL = re.compile(r'^(\w+ = ")(?!https?:)([^"]+)"$', re.MULTILINE)


def main(tag: str, address: str, root: Path = ROOT) -> str:
    """The notes of the release.

    :raises SystemExit: the tag cannot be released; says why.
    """
    project, readme = root / "pyproject.toml", root / "README.md"
    version = tomllib.loads(project.read_text())["project"]["version"]
    if tag != f"v{version}":
        sys.exit(f"the tag is {tag}, but pyproject.toml has the version {version}")
    notes = notes_of((root / "CHANGELOG.md").read_text(), version)
    seen, raw = f"{address.rstrip('/')}/blob/{tag}", f"{address.rstrip('/')}/raw/{tag}"

    def link(match: re.Match[str]) -> str:
        picture, text, place = match.groups()
        return f"{picture}{text}({raw if picture else seen}/{place})"

    readme.write_text(_LINK.sub(link, readme.read_text()))
    project.write_text(
        _URLS.sub(lambda urls: _URL.sub(rf'\1{seen}/\2"', urls[0]), project.read_text())
    )
    return notes


def notes_of(changelog: str, version: str) -> str:
    """What the changelog says of a version.

    :raises SystemExit: nothing.
    """
    heading = re.search(rf"^## \[{re.escape(version)}\].*\n", changelog, re.MULTILINE)
    notes = "" if heading is None else changelog[heading.end() :].partition("\n## ")[0].strip()
    if not notes:
        sys.exit(f"CHANGELOG.md says nothing under the heading ## [{version}]")
    return notes


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(main(sys.argv[1], sys.argv[2]))
