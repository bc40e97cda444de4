"""The map of the package, held against the package; and the laws that are read from its source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamhub.producing.producer import Producer
from streamhub.reading.session_view import SessionView

from ..support.package_source import PACKAGE, modules

ROOT = Path(__file__).parents[2]
MAP = ROOT / "docs" / "architecture.md"
PAGES = [MAP, *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
#: Rooms that the map names as a whole.
WHOLE = ("cli", "demo", "sync", "testing")
MOST_ATTRIBUTES = 20
MOST_LINES = 400
#: Files that are longer, each for its reason.
LONGER = {
    "errors": "the whole tree of errors on one page",
    "hub": "what users call, each method with all that it promises",
    "instruments.events": "all that instruments are told, on one page",
    "producing.producer": "one stream's write side: each input and each answer, in one place",
    "stores.base": "the whole promise of a store on one page",
    "stores.memory.store": "the reference for it, to be read beside it",
    "stream": "one method for all that a handle is for",
}
_OF_REDIS = re.compile(
    r"\b(?:redis|valkey|slots?|scripts?|entry ids?|lua|x(?:add|range|read)|hash tags?|pub/?sub)\b",
    re.IGNORECASE,
)
#: Where words of Redis must be said elsewhere, and why.
SAID_ELSEWHERE = {
    "": "the URL of an example",
    "chunks": "a cursor is an entry's id, and as long",
    "config": "the prefix of keys, and ``slots=True`` of a dataclass",
    "errors": "StoreUnsupported says what is no Redis",
    "http.inspector.routes": "what scripts a browser may run on the page",
    "hub": "URLs, and a client of redis-py that is handed in as a store",
    "stores": "what the package holds",
    "stores.open_store": "the table of schemes",
}


def _drawn() -> list[str]:
    """All that the tree of the map names, as paths below the package; a room ends with ``/``."""
    tree = next(
        block
        for block in re.findall(r"```text\n(.*?)```", MAP.read_text(), re.DOTALL)
        if block.startswith("src/streamhub/\n")
    )
    named: list[str] = []
    rooms: list[tuple[int, str]] = []
    for line in tree.splitlines()[1:]:
        words = line.partition("#")[0].split()
        indent = len(line) - len(line.lstrip())
        while rooms and rooms[-1][0] >= indent:
            rooms.pop()
        if words and words[0].endswith("/"):
            rooms.append((indent, (rooms[-1][1] if rooms else "") + words.pop(0)))
            named.append(rooms[-1][1])
        named += [(rooms[-1][1] if rooms else "") + word for word in words]
    return named


def _standing() -> set[str]:
    """What of the package the map is to name, in the same way."""
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.lua")]
    paths = [path.relative_to(PACKAGE) for path in files]
    named = {
        path.with_suffix("").as_posix()
        for path in paths
        if path.parts[0] not in WHOLE and not path.stem.startswith("__")
    }
    rooms = {f"{room.as_posix()}/" for path in paths for room in path.parents if room.parts}
    return named | {room for room in rooms if room.count("/") == 1 or not room.startswith(WHOLE)}


def test_the_map_names_every_module_once() -> None:
    """Whoever adds, moves or removes a module says in the tree of docs/architecture.md where it
    stands, among its like."""
    drawn = _drawn()
    twice = sorted({name for name in drawn if drawn.count(name) > 1})
    missing, gone = sorted(_standing() - {*drawn}), sorted({*drawn} - _standing())

    assert [] == missing, f"docs/architecture.md: add to the tree {', '.join(missing)}"
    assert [] == gone, f"docs/architecture.md: take out of the tree {', '.join(gone)}"
    assert [] == twice, f"docs/architecture.md: name once {', '.join(twice)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_names_is_there(page: Path) -> None:
    """Each file, and each attribute of a class, that the map or a decision names in code exists."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    quoted = set(re.findall(r"`([^`]+)`", text))
    source = "".join(path.read_text() for kind in ("*.py", "*.lua") for path in PACKAGE.rglob(kind))
    files = {one for one in quoted if re.fullmatch(r"[\w/.]+\.(?:py|lua)", one)}
    dotted = {one for one in quoted - files if re.fullmatch(r"[A-Z]\w+\.\w+", one)}
    known = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.*")]
    lost = [
        one
        for one in files
        if not (ROOT / one).exists() and not any(f"/{path}".endswith(f"/{one}") for path in known)
    ]
    lost += [one for one in dotted if not _is_defined(one, source)]

    assert files or page.name == "README.md"
    assert [] == sorted(lost), f"{page.relative_to(ROOT)}: these are not there (any more)"


def _is_defined(name: str, source: str) -> bool:
    owner, attribute = name.split(".")
    body = re.search(rf"^class {owner}\b.*?(?=^\S(?<!\)))", source, re.MULTILINE | re.DOTALL)
    return body is not None and re.search(rf"\b{attribute}\b", body[0]) is not None


@pytest.mark.parametrize("kind", [Producer, SessionView])
def test_a_long_lived_object_has_few_attributes(kind: type) -> None:
    """What needs more of them is two things: give one of the two a class of its own."""
    assert len(kind.__dict__["__slots__"]) <= MOST_ATTRIBUTES


def test_files_are_short() -> None:
    """A longer one does two things: part it, or say in LONGER why it must not be parted."""
    longer = {name for name, path in modules().items() if path.read_text().count("\n") > MOST_LINES}

    assert set() == longer - {*LONGER}
    assert {*LONGER} <= {*modules()}


def test_words_of_redis_stay_in_its_store() -> None:
    """Nothing else knows what a session is kept in: say it in the words of stores/base.py, or in
    SAID_ELSEWHERE why it has to be said."""
    elsewhere = {
        name
        for name, path in modules().items()
        if name.partition(".")[0] not in WHOLE and not name.startswith("stores.redis")
        if _OF_REDIS.search(path.read_text().replace("__slots__", ""))
    }

    assert set() == elsewhere - {*SAID_ELSEWHERE}
    assert set() == {*SAID_ELSEWHERE} - elsewhere


def test_no_section_rulers() -> None:
    """A file that needs headlines is two files."""
    ruled = [
        f"{path.relative_to(ROOT)}:{number}"
        for room in ("src", "tests", "bench")
        for path in (ROOT / room).rglob("*.py")
        if "node_modules" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.match(r"\s*# ?[-=]{2,}", line)
    ]

    assert [] == ruled


def test_a_fast_path_says_what_it_saves() -> None:
    """``# Fast path of <the slow way>: <what it saves>``: so one sees that there are two."""
    said = [
        (name, found[0].split("\n")[0])
        for name, path in modules().items()
        for found in re.finditer(r"# (?i:fast path).*\n.*", path.read_text())
        if not re.match(r"# Fast path of [^:]+: \S", found[0].replace("\n", " "))
    ]

    assert [] == said
