"""streamhub.sync has what streamhub has."""

from __future__ import annotations

import inspect
from types import MemberDescriptorType

import pytest

import streamhub
from streamhub import (
    sync,
)

MIRRORED = {
    "Hub": (streamhub.Hub, sync.Hub),
    "LiveStream": (streamhub.LiveStream, sync.LiveStream),
    "Subscription": (streamhub.Subscription, sync.Subscription),
    "Supervisor": (streamhub.Supervisor, sync.Supervisor),
    "Inbox": (streamhub.Inbox, sync.Inbox),
    "Message": (streamhub.Message, sync.Message),
    "Ends": (streamhub.Ends, sync.Ends),
    "TakenEnd": (streamhub.TakenEnd, sync.TakenEnd),
    "DeadEnd": (streamhub.DeadEnd, sync.DeadEnd),
}
RENAMED = {
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}
#: Public among our own modules alone.
INTERNAL = {"board", "production", "shared", "spawn_body"}
#: What a thread gives or gets instead.
RETYPED = {
    "OnCancel | None": "Callable[[], object] | None",
    "OnEnd | None": "Callable[[End], object] | None",
    "Lookup[LiveStream | None]": "LiveStream | None",
    "sources.Source": "Source",
    "AsyncIterator[DeadEnd]": "Iterator[DeadEnd]",
    "AsyncIterator[SessionInfo]": "Iterator[SessionInfo]",
}


def _members(kind: type, *, special: bool) -> dict[str, object]:
    wanted = set(RENAMED) | set(RENAMED.values())
    return {
        name: member
        for name, member in vars(kind).items()
        if name not in INTERNAL
        # Fields: what has them inherits them from the same value.
        and not isinstance(member, MemberDescriptorType)
        and (not name.startswith("_") or (special and name in wanted))
    }


def _signature(member: object) -> list[tuple[object, ...]]:
    function = member.__func__ if isinstance(member, classmethod) else member
    assert callable(function)
    signature = inspect.signature(function)
    parameters: list[tuple[object, ...]] = [
        (each.name, each.kind, each.default, RETYPED.get(each.annotation, each.annotation))
        for each in signature.parameters.values()
    ]
    returned = signature.return_annotation
    return [*parameters, (RETYPED.get(returned, returned),)]


@pytest.mark.parametrize("name", MIRRORED)
def test_every_public_name_has_its_mirror(name: str) -> None:
    """What one API has the other has too, under the same name, as the same kind of thing."""
    asynchronous, synchronous = (_members(kind, special=True) for kind in MIRRORED[name])
    expected = {RENAMED.get(each, each): member for each, member in asynchronous.items()}

    assert set(expected) == set(synchronous)
    for each, member in expected.items():
        assert isinstance(member, property | classmethod) == isinstance(
            synchronous[each], property | classmethod
        )


@pytest.mark.parametrize("name", MIRRORED)
def test_every_mirror_takes_and_returns_the_same(name: str) -> None:
    """Parameters, their defaults and their types are those of the async API."""
    asynchronous, synchronous = MIRRORED[name]
    functions = {
        each: member
        for each, member in _members(asynchronous, special=True).items()
        if not isinstance(member, property)
    }
    if name == "Hub":
        functions["__init__"] = vars(asynchronous)["__init__"]

    for each, member in functions.items():
        mirror = vars(synchronous)[RENAMED.get(each, each)]
        assert (each, _signature(member)) == (each, _signature(mirror))


def test_nothing_is_left_async() -> None:
    """No method of the mirror returns an awaitable."""
    for _, kind in MIRRORED.values():
        for member in _members(kind, special=True).values():
            assert not inspect.iscoroutinefunction(member)
            assert not inspect.isasyncgenfunction(member)
