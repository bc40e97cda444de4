"""What live messages say once they are decoded."""

from __future__ import annotations

import pytest

from streamhub.chunks import Chunk, Cursor, Item
from streamhub.stores.base import Appended
from streamhub.stores.redis.layout.live import appended, live_event

TERM = 1_764_403_200_123


@pytest.mark.parametrize("more", [0, 1, 2], ids=["alone", "of two", "of three"])
@pytest.mark.parametrize("item", ["a", "", "ä\n\0", ("{}", "ui"), ("", "ui")], ids=ascii)
def test_a_chunk_is_decoded_alone_as_it_is_among_others(item: Item, more: int) -> None:
    """Data, event type and cursor are the same, however many chunks a message holds."""
    data, event = (item, None) if isinstance(item, str) else item
    message = appended(TERM, 41, 15_000, 7, [item, *["b"] * more])

    found = live_event(message)

    assert isinstance(found, Appended)
    assert Chunk(data, Cursor(TERM, 42), event) == found.chunks[0]
    assert [("b", Cursor(TERM, 43 + n)) for n in range(more)] == [
        (chunk.data, chunk.cursor) for chunk in found.chunks[1:]
    ]
    assert (TERM, 41, 15.0) == (found.term, found.base, found.lease)
