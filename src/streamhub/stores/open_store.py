"""Which store a URL names, by its scheme."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InvalidStoreUrl
from .base import Store, missing_methods

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "SCHEMES", "open_store"]

#: Where other packages register their stores. The name of an entry point is a scheme, its object is
#: called with the whole URL and answers a store: ``postgres = "a_package:AStore.from_url"``.
GROUP = "streamhub.stores"

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}", re.IGNORECASE)
_PACKAGE = "streamhub-llm"


def open_store(url: str) -> Store:
    """The store that ``url`` names, which nothing is asked of yet.

    :raises InvalidStoreUrl: no store is known by that scheme, or what it needs is not installed, or
        the store refuses the URL.
    """
    if not isinstance(url, str):
        raise InvalidStoreUrl(type(url).__name__, "a URL is text")
    scheme, separator, _ = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise InvalidStoreUrl("…", f"it does not begin with a scheme; {_known()}")
    scheme = scheme.lower()
    built_in = _BUILT_IN.get(scheme)
    if built_in is not None:
        return _open_ours(scheme, built_in, url)
    return _open_theirs(scheme, url)


class _Store(NamedTuple):
    open: Callable[[str], Store]
    #: The extra that brings what it needs.
    extra: str | None = None


def _memory(url: str) -> Store:
    from .memory import MemoryStore

    return MemoryStore.from_url(url)


def _redis(url: str) -> Store:
    from .redis import RedisStore

    return RedisStore.from_url(url)


_BUILT_IN = {
    "memory": _Store(_memory),
    **dict.fromkeys(
        (
            *("redis", "rediss", "valkey", "valkeys", "unix"),
            *("redis+sentinel", "rediss+sentinel", "valkey+sentinel", "valkeys+sentinel"),
            *("redis+cluster", "rediss+cluster", "valkey+cluster", "valkeys+cluster"),
        ),
        _Store(_redis, extra="redis"),
    ),
}
#: Those that need no other package's store.
SCHEMES = tuple(_BUILT_IN)


def _open_ours(scheme: str, store: _Store, url: str) -> Store:
    try:
        return store.open(url)
    except ImportError as error:
        if store.extra is None:
            raise
        install = _install(store.extra)
        why = "" if install in str(error) else f" ({error})"
        raise InvalidStoreUrl(
            f"{scheme}://…", f"{scheme}:// needs an extra: {install}{why}"
        ) from error


def _open_theirs(scheme: str, url: str) -> Store:
    # A distribution that is found twice on the path registers the same twice.
    found = {point.value: point for point in _registered() if point.name.lower() == scheme}
    if not found:
        raise InvalidStoreUrl(f"{scheme}://…", f"unknown scheme; {_known()}")
    if len(found) > 1:
        which = ", ".join(map(_described, found.values()))
        reason = f"several stores are registered for it, and only one may be installed: {which}"
        raise InvalidStoreUrl(f"{scheme}://…", reason)
    (point,) = found.values()
    try:
        opens = point.load()
    except Exception as error:
        reason = f"{_described(point)} cannot be loaded: {type(error).__name__}: {error}"
        if isinstance(error, ImportError) and point.extras and point.dist is not None:
            reason += f"; it needs an extra: {_install(*point.extras, package=point.dist.name)}"
        raise InvalidStoreUrl(f"{scheme}://…", reason) from error
    if not callable(opens):
        kind = type(opens).__name__
        reason = f"{_described(point)} is not callable with a URL: it is a {kind}"
        raise InvalidStoreUrl(f"{scheme}://…", reason)
    store: Store = opens(url)
    if missing := missing_methods(store):
        kind = type(store).__name__
        reason = f"{_described(point)} answered no store: a {kind} has no {', '.join(missing)}"
        raise InvalidStoreUrl(f"{scheme}://…", reason)
    return store


def _registered() -> Iterable[EntryPoint]:
    # Its import takes longer than that of all that most programs need of this package.
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def _described(point: EntryPoint) -> str:
    origin = "" if point.dist is None else f" of {point.dist.name} {point.dist.version}"
    return f"the entry point {point.name!r} ({point.value}) in the group {GROUP!r}{origin}"


def _known() -> str:
    """The schemes that are allowed, and what has to be installed for them."""
    by_extra: dict[str | None, list[str]] = {}
    for scheme, store in _BUILT_IN.items():
        by_extra.setdefault(store.extra, []).append(f"{scheme}://")
    theirs = sorted({point.name.lower() for point in _registered()} - {*_BUILT_IN})
    by_extra[None] += [f"{scheme}://" for scheme in theirs]
    parts = [
        ", ".join(schemes) + ("" if extra is None else f" (with {_install(extra)})")
        for extra, schemes in by_extra.items()
    ]
    return f"allowed are {'; '.join(parts)}; other packages add theirs to the group {GROUP!r}"


def _install(*extras: str, package: str = _PACKAGE) -> str:
    return f'pip install "{package}[{",".join(extras)}]"'
