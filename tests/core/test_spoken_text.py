"""The text of a stream that is made of parts."""

from __future__ import annotations

import pytest

from streamhub import End, Hub, parts
from streamhub.chunks import Item
from streamhub.parts.spoken import spoken_text


def ui(part: parts.AnyPart) -> Item:
    return parts.encode(part), parts.PART_EVENT


SPOKEN: dict[str, tuple[list[Item], str]] = {
    "nothing": ([], ""),
    "plain chunks": (["a", "b"], "ab"),
    "deltas of text": (
        [ui(parts.TextStart("1")), ui(parts.TextDelta("1", "a")), ui(parts.TextEnd("1"))],
        "a",
    ),
    "both, in their order": (["a", ui(parts.TextDelta("1", "b")), "c"], "abc"),
    "what is thought is not said": ([ui(parts.ReasoningDelta("1", "a")), "b"], "b"),
    "chunks of other types": ([("a", "status"), ('{"type":"text-delta","delta":"b"}', "x")], ""),
    "a step that was reset": (
        [
            "a",
            ui(parts.StartStep()),
            "b",
            ui(parts.TextDelta("1", "c")),
            ui(parts.ResetStep()),
            "d",
        ],
        "ad",
    ),
    "a reset without a step": (["a", ui(parts.ResetStep()), "b"], "b"),
    "what is no part": ([("{", "ui"), ('{"type":"text-delta","delta":7}', "ui"), "a"], "a"),
}


@pytest.mark.parametrize(("items", "expected"), SPOKEN.values(), ids=SPOKEN)
def test_what_is_said_is_text(items: list[Item], expected: str) -> None:
    """As plain chunks or as deltas of a text; what a page takes back is not."""
    assert expected == spoken_text(items)
    assert expected == parts.fold(items).text


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_handle_and_end_have_the_text_of_parts(hub: Hub, session_id: str) -> None:
    """Whoever saves a text need not know how the source gave it."""
    ends: list[End] = []
    stream, _ = await hub.register(session_id, on_end=ends.append)
    async with stream:
        await stream.publish("It ")
        await stream.publish(parts.TextDelta("1", "is."))
        await stream.flush()
        assert "It is." == await stream.text()

    assert ["It is."] == [end.text for end in ends]
