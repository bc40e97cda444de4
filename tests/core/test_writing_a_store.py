"""The page on writing a store: its template passes the suite, and is found by its scheme."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from streamhub import Hub
from streamhub.stores.base import BaseStore, Store
from streamhub.stores.open_store import GROUP

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-store.md"
TEMPLATE, SUITE = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
(POINTS,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)


def imported(name: str, source: str) -> ModuleType:
    """The module, as if the block of the page stood in a file of that name."""
    spec = spec_from_loader(name, loader=None)
    assert spec is not None
    module = sys.modules[name] = module_from_spec(spec)
    exec(compile(source, f"{PAGE}: {name}.py", "exec"), module.__dict__)
    return module


my_store = imported("my_store", TEMPLATE)


@pytest.mark.slow
class TestTemplate(imported("test_my_store", SUITE).TestSqlite):  # type: ignore[misc]
    """The suite on the store of the page, by the test of the page."""


def test_the_page_names_every_method() -> None:
    """Those that a store must have, and those that have a default."""
    *needed, defaults = re.findall(r"^\| (`[a-z_`, ]+) \|", PAGE.read_text(), re.MULTILINE)
    abstract = {name for name in vars(BaseStore) if name in BaseStore.__abstractmethods__}
    methods = {name for name in vars(Store) if not name.startswith("_")}

    assert abstract == {name.strip("`") for name in needed}
    assert 8 == len(abstract)
    assert methods - abstract == {*re.findall(r"[a-z_]+", defaults)}


async def test_the_template_is_found_by_its_scheme_and_outlives_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the entry point of the page. What was stored is there for the next hub on the file."""
    information = tmp_path / "my_store-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-store\nVersion: 1\n")
    points = tomllib.loads(POINTS)["project"]["entry-points"][GROUP]
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (information / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
    monkeypatch.syspath_prepend(tmp_path)
    url = f"sqlite://{tmp_path}/sessions.db"

    async with Hub.from_url(url) as hub:
        async for _ in (await hub.run("chat", ["Hello, ", "world"])).subscribe():
            pass
    async with Hub.from_url(url) as hub:
        stream = await hub.get("chat")
        assert stream is not None
        assert "Hello, world" == await stream.text()


def test_a_store_that_lacks_a_method_says_which() -> None:
    """When it is made, not when the method is needed."""

    class Incomplete(my_store.SqliteStore):  # type: ignore[misc, name-defined]
        cancel = BaseStore.cancel

    with pytest.raises(TypeError, match="cancel"):
        Incomplete("sessions.db")
