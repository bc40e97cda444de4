"""Metadata: any JSON in, any type out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from streamhub import Hub, InvalidMetadata


@dataclass
class Options:
    model: str
    temperature: float = 1.0


class Plan(TypedDict):
    model: str


class Struct(msgspec.Struct):
    model: str


class Model(pydantic.BaseModel):
    model: str


@pytest.mark.parametrize(
    "value",
    [{"a": [1, 2.5, None, True, "ü\0"]}, [], "text", 0, False, {"": {}}],
)
async def test_what_json_can_hold_comes_back(hub: Hub, session_id: str, value: Any) -> None:
    """Metadata is there for readers as it was given, empty values included."""
    stream, _ = await hub.register(session_id)

    await stream.set_metadata(value)

    assert value == await stream.metadata()
    assert value == (await stream.info()).metadata


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Options("m", 0.5), Options),
        ({"model": "m"}, Plan),
        (Struct("m"), Struct),
        (Model(model="m"), Model),
        ([Model(model="m")], list[Model]),
        ({"a": 1}, dict[str, int]),
    ],
)
async def test_models_go_in_and_typed_values_come_out(
    hub: Hub, session_id: str, value: Any, kind: Any
) -> None:
    """Dataclasses, TypedDicts, msgspec structs and pydantic models need no code of the user's."""
    await hub.register(session_id, metadata=value)
    reader = await hub.get(session_id)

    assert reader is not None
    assert value == await reader.metadata(kind)


@pytest.mark.parametrize("kind", [Options, Plan, Struct, Model, int, list[int]])
async def test_metadata_of_another_shape_is_an_error(hub: Hub, session_id: str, kind: Any) -> None:
    """What does not fit the type is never handed out as if it did."""
    stream, _ = await hub.register(session_id, metadata={"model": 5})

    with pytest.raises(InvalidMetadata, match=session_id):
        await stream.metadata(kind)


async def test_no_metadata_is_none(hub: Hub, session_id: str) -> None:
    """A session without metadata has none of any type."""
    stream, _ = await hub.register(session_id)

    assert await stream.metadata() is None
    assert await stream.metadata(Options) is None


def _circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"bytes", float("nan"), float("inf"), "\ud800", _circular(), {"a": Options}],
)
async def test_what_is_not_json_is_refused_and_the_old_stays(
    hub: Hub, session_id: str, value: Any
) -> None:
    """Bad metadata is an error at once, and changes nothing."""
    stream, _ = await hub.register(session_id, metadata={"old": True})

    with pytest.raises(InvalidMetadata):
        await stream.set_metadata(value)

    assert {"old": True} == await stream.metadata()
    with pytest.raises(InvalidMetadata):
        await hub.register(f"{session_id}-2", metadata=value)
    assert await hub.get(f"{session_id}-2") is None


async def test_metadata_over_the_limit_is_refused(hub: Hub, session_id: str) -> None:
    """The error names the size and the limit."""
    stream, _ = await hub.register(session_id)

    with pytest.raises(InvalidMetadata, match=r"1,048,578 bytes is over .*1,048,576"):
        await stream.set_metadata("x" * 1_048_576)


def _nested(depth: int) -> Any:
    value: Any = "}"
    for level in range(depth):
        value = [value] if level % 2 else {"[": value}
    return value


@pytest.mark.parametrize(
    ("depth", "told"), [(101, "101"), (1_000, "1,000"), (20_000, "20,000"), (300_000, "endlessly")]
)
async def test_metadata_nested_too_deeply_is_refused(
    hub: Hub, session_id: str, depth: int, told: str
) -> None:
    """The error names the depth and the limit, nothing is claimed, and the old metadata stays."""
    stream, _ = await hub.register(session_id, metadata={"old": True})
    value = _nested(depth)

    with pytest.raises(InvalidMetadata, match=f"nested {told}.* allowed are 100 levels"):
        await stream.set_metadata(value)
    with pytest.raises(InvalidMetadata, match=f"nested {told}.* allowed are 100 levels"):
        await hub.register(f"{session_id}-2", metadata=value)

    assert {"old": True} == await stream.metadata()
    assert await hub.get(f"{session_id}-2") is None


async def test_metadata_as_deep_as_allowed_comes_back(hub: Hub, session_id: str) -> None:
    """Brackets within strings count for nothing."""
    value = [_nested(99), "[{" * 1_000, '\\"[[' * 1_000]
    stream, _ = await hub.register(session_id, metadata=value)

    assert value == (await stream.info()).metadata


@pytest.mark.parametrize(
    "value", [10**5_000, 2**70, -(2**64), 0.1, 1e308], ids=["5,000 digits", *"abcd"]
)
async def test_a_number_comes_back_or_is_refused(hub: Hub, session_id: str, value: Any) -> None:
    """What the door has let in is there for every reader."""
    try:
        stream, _ = await hub.register(session_id, metadata=[value])
    except InvalidMetadata:
        assert await hub.get(session_id) is None
        return

    assert [value] == await stream.metadata()
