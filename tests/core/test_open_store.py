"""How a store is found by the scheme of its URL: ours, and those of other packages."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import streamhub
from streamhub import Hub, InvalidStoreUrl
from streamhub.stores.memory import MemoryStore
from streamhub.stores.open_store import _BUILT_IN, GROUP, open_store
from streamhub.stores.redis.topology.url import SCHEMES

MODULE = """
from streamhub.stores.memory import MemoryStore

class Store(MemoryStore):
    @classmethod
    def from_url(cls, url):
        store = cls()
        store.url = url
        return store

def nothing(url):
    return None

number = 7
"""


class Site:
    """A directory on the path, where distributions are installed as pip leaves them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def install(self, name: str, *points: str) -> None:
        module = name.replace("-", "_")
        (self._path / f"{module}.py").write_text(MODULE)
        information = self._path / f"{module}-1.2.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n"
        )
        lines = (f"{point.replace('MODULE', module)}\n" for point in points)
        (information / "entry_points.txt").write_text(f"[{GROUP}]\n{''.join(lines)}")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(tmp_path)
    return Site(tmp_path)


def refusal(url: object) -> InvalidStoreUrl:
    with pytest.raises(InvalidStoreUrl) as refused:
        Hub.from_url(url)  # type: ignore[arg-type]
    return refused.value


def test_redis_is_found_by_every_scheme_that_it_has() -> None:
    """The table that needs no redis to be installed agrees with the one that reads URLs."""
    assert {*SCHEMES} == {scheme for scheme, store in _BUILT_IN.items() if store.extra == "redis"}


def test_memory_is_a_new_store_each_time() -> None:
    """And has no address."""
    assert isinstance(open_store("memory://"), MemoryStore)
    assert open_store("memory://") is not open_store("MEMORY://")
    assert "memory://" in str(refusal("memory://localhost"))


@pytest.mark.parametrize("url", ["ring://h", "postgres+ring://u:p@h"])
def test_an_unknown_scheme_names_the_known_ones(url: str, site: Site) -> None:
    """With the extras that they need, those that other packages bring, and how they do."""
    site.install("streamhub-else", "elsewhere = MODULE:Store.from_url")

    message = str(refusal(url))

    for part in ("memory://", "redis+cluster://", "elsewhere://", '"streamhub-llm[redis]"', GROUP):
        assert part in message


@pytest.mark.parametrize("url", ["", "localhost", "redis:/h", "://h", "a b://h", 7, None])
def test_what_is_no_url_names_what_is_allowed(url: object) -> None:
    """And shows nothing of it."""
    refused = refusal(url)
    assert "localhost" not in str(refused)
    assert ("a URL is text" if not isinstance(url, str) else "memory://") in str(refused)


def test_another_package_s_store_is_opened_with_the_whole_url(site: Site) -> None:
    """It is found by the name of its entry point, in small or capital letters."""
    site.install("streamhub-else", "elsewhere = MODULE:Store.from_url")

    store = open_store("ElseWhere://u:p@h/path?a=b")

    assert "ElseWhere://u:p@h/path?a=b" == store.url  # type: ignore[attr-defined]


def test_another_package_does_not_take_a_scheme_of_ours(site: Site) -> None:
    """What is installed beside it changes nothing of what a program does."""
    site.install("streamhub-else", "memory = MODULE:Store.from_url")
    assert MemoryStore is type(open_store("memory://"))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_module:open", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("MODULE:missing", "cannot be loaded: AttributeError"),
        ("no_such_module:open [fast]", 'an extra: pip install "streamhub-else[fast]"'),
        ("MODULE:number", "not callable with a URL: it is a int"),
        ("MODULE:nothing", "answered no store: a NoneType has no"),
    ],
)
def test_an_entry_point_that_brings_no_store_names_itself(
    site: Site, value: str, reason: str
) -> None:
    """Its name, its value, its group, and the distribution that it is of."""
    site.install("streamhub-else", f"elsewhere = {value}")

    message = str(refusal("elsewhere://u:p@h"))

    for part in (reason, "'elsewhere'", f"'{GROUP}'", "streamhub-else 1.2"):
        assert part in message
    assert "u:p" not in message


def test_a_scheme_of_two_packages_is_nobody_s(site: Site) -> None:
    """Which one it would be is not left to chance."""
    site.install("streamhub-else", "elsewhere = MODULE:Store.from_url")
    site.install("streamhub-more", "elsewhere = MODULE:Store.from_url")

    message = str(refusal("elsewhere://"))

    assert ("streamhub-else 1.2" in message, "streamhub-more 1.2" in message) == (True, True)


_WITHOUT_REDIS = """
import streamhub
for url in ("redis://u:s3cr3t@h", "valkeys+cluster://h", "unix:///run/redis.sock"):
    try:
        streamhub.Hub.from_url(url)
    except streamhub.InvalidStoreUrl as error:
        print(error)
"""


def test_redis_without_its_extra_names_the_extra(tmp_path: Path) -> None:
    """Whichever of its schemes it is; here nothing but what the core needs can be imported."""
    for name in ("anyio", "msgspec", "idna", "sniffio", "typing_extensions"):
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin)
            path = path.parent if path.name == "__init__.py" else path
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "streamhub").symlink_to(Path(streamhub.__file__).parent)

    # Without site, nothing of the environment is there.
    done = subprocess.run(
        [sys.executable, "-S", "-c", _WITHOUT_REDIS],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
        text=True,
    )

    lines = done.stdout.splitlines()
    assert 3 == len(lines)
    for line, scheme in zip(lines, ("redis", "valkeys+cluster", "unix"), strict=True):
        assert f"{scheme}:// needs an extra: pip install" in line
        assert 1 == line.count("pip install")
        assert '"streamhub-llm[redis]"' in line
        assert "s3cr3t" not in line
