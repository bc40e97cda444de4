"""Clients that want some of a session: chunks of some event types, or the newest ones."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import AsyncClient

from streamhub import Hub, LiveStream, parts
from streamhub.http import StreamResponse, create_app
from streamhub.serving.asked import Question
from streamhub.serving.queries import events_of, last_of, shown_of
from streamhub.serving.settings import Settings
from streamhub.testing.waiting import within

from .conftest import Open
from .serving import Followed, events, follow, lines, path_of
from .test_responses import app_of

pytestmark = pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)


async def begun(hub: Hub, session_id: str) -> LiveStream:
    """A session with six chunks: a status before each text."""
    stream, created = await hub.register(session_id)
    assert created
    for text in "abc":
        await stream.publish(f"of {text}", event="status")
        await stream.publish(text)
    await stream.flush()
    return stream


ASKED = {
    "one type": ("events=status", ["of a", "of b", "of c", "of d"]),
    "text": ("events=message", ["a", "b", "c", "d"]),
    "several": ("events=message,status,x", ["of a", "a", "of b", "b", "of c", "c", "of d", "d"]),
    "several times": ("events=x&events=status", ["of a", "of b", "of c", "of d"]),
    "the last": ("last=2", ["of c", "c", "of d", "d"]),
    "the last of a type": ("events=status&last=1", ["of c", "of d"]),
    "what nobody sends": ("events=x", []),
}


@pytest.mark.parametrize(("query", "expected"), ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("batch", ["", "&batch=true"])
async def test_a_client_gets_what_it_asks_for(
    hub: Hub, client: AsyncClient, session_id: str, query: str, batch: str, expected: list[str]
) -> None:
    """Of what is stored and of what is live, and the end; in every format."""
    stream = await begun(hub, session_id)
    path = f"{path_of(session_id)}?{query}{batch}"
    async with follow(client, path) as response:
        await stream.publish("of d", event="status")
        last = await stream.publish("d")
        await stream.close()
        *chunks, end = await response.rest()
    ndjson = lines((await client.get(f"{path}&format=ndjson")).content)

    assert expected == [chunk.data for chunk in chunks]
    assert ("end", str(last)) == (end.event, end.id)
    if "last" not in query:
        text = (await client.get(f"{path}&format=text")).text
        assert expected == [line["data"] for line in ndjson[:-1]]
        assert "".join(one for one in expected if " " not in one) == text


async def test_who_wants_nothing_that_is_stored_is_answered_at_once(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """The response begins, though its first chunk is still to come."""
    stream = await begun(hub, session_id)
    async with follow(client, f"{path_of(session_id)}?events=x") as response:
        assert 200 == response.response.status_code
        await stream.publish("y", event="x")
        assert "y" == (await response.next()).data


async def test_a_cursor_comes_before_the_number_of_chunks(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """An EventSource keeps its address when it connects again: it goes on where it was, and does
    not begin near the end."""
    stream = await begun(hub, session_id)
    await stream.close()
    path = f"{path_of(session_id)}?events=message&last=1"
    first, _ = events((await client.get(path)).content)
    cursor = str((await stream.info()).cursor(2))
    *resumed, _ = events((await client.get(path, headers={"last-event-id": cursor})).content)

    assert "c" == first.data
    assert ["b", "c"] == [event.data for event in resumed]


async def test_a_cursor_of_an_old_epoch_begins_near_the_end_of_the_new_one(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """What comes after the reset is what who comes anew would get."""
    stream = await begun(hub, session_id)
    await stream.close()
    old = str((await stream.info()).last)
    stream = await begun(hub, session_id)
    await stream.close()
    path = f"{path_of(session_id)}?events=status&last=1"
    answer = await client.get(path, headers={"last-event-id": old})

    assert ["reset", "status", "end"] == [event.event for event in events(answer.content)]


async def test_who_has_it_all_but_what_it_does_not_want_is_done(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """The end has the cursor of the session: asked again from there it is 204."""
    stream = await begun(hub, session_id)
    await stream.close()
    path = f"{path_of(session_id)}?events=status"
    end = events((await client.get(path)).content)[-1]
    again = await client.get(path, headers={"last-event-id": end.id})

    assert 204 == again.status_code


async def _quiet(client: AsyncClient, path: str, stream: LiveStream) -> tuple[Followed, str]:
    async with follow(client, path) as response:
        await response.next()
        cursor = str(await stream.publish("z", event="unwanted"))
        await within(response.until_raw(f"id: {cursor}\n:\n".encode()))
        return response, cursor


async def test_heartbeats_tell_where_a_client_stands(
    hub: Hub, open_client: Open, session_id: str
) -> None:
    """Those of who gets few chunks have the cursor of what was passed over; what is passed over is
    no sign of life; and no parser takes such a heartbeat for an event."""
    client = await open_client(create_app(hub, heartbeat=0.05))
    stream = await begun(hub, session_id)
    response, cursor = await _quiet(client, f"{path_of(session_id)}?events=status", stream)
    await stream.publish("more", event="status")
    await stream.close()
    after = {"last-event-id": cursor}
    more, end = events((await client.get(path_of(session_id), headers=after)).content)

    assert [b"id: ", b":\n"] == [response.raw[-len(cursor) - 7 :][:4], response.raw[-2:]]
    assert ("more", "end") == (more.data, end.event)


async def test_a_new_epoch_begins_with_its_newest_chunks(
    hub: Hub, open_client: Open, session_id: str
) -> None:
    """A reset, then what is wanted of the new one: as if the client had come to that."""
    client = await open_client(app_of(hub, follow_next=True))
    stream = await begun(hub, session_id)
    path = f"/events?session={session_id}&events=status&last=1"
    async with follow(client, path) as response:
        assert "of c" == (await response.next()).data
        await stream.close()
        assert "end" == (await response.next()).event
        stream = await begun(hub, session_id)
        reset = await response.next()
        await stream.publish("of z", event="status")
        seen: list[str] = []
        while not seen or seen[-1] != "of z":
            seen.append((await response.next()).data)

    assert "reset" == reset.event
    assert seen == [f"of {one}" for one in "abcz"[-len(seen) :]]


async def test_parts_are_not_cut_in_two(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """The newest deltas come with the start of what they go on with."""
    stream, _ = await hub.register(session_id)
    await stream.publish("before")
    await stream.publish(parts.TextStart("1"))
    for _ in range(5):
        await stream.publish(parts.TextDelta("1", "x"))
    await stream.close()
    answer = await client.get(f"{path_of(session_id)}?last=2&format=ndjson")
    kinds = [line.get("part", {}).get("type") for line in lines(answer.content)[:-1]]

    assert ["text-start", *["text-delta"] * 5] == kinds


async def test_clients_that_want_different_things_share_nothing(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """What was encoded for one is not sent to the other, though it begins and ends the same."""
    stream = await begun(hub, session_id)
    await stream.publish("of e", event="status")
    await stream.flush()
    path = path_of(session_id)
    async with (
        follow(client, f"{path}?after=now") as one,
        follow(client, f"{path}?events=status") as some,
        follow(client, path) as everything,
        follow(client, path) as everything_again,
    ):
        await stream.close()
        bodies = [await each.rest() for each in (some, everything, everything_again, one)]

    assert [5, 8, 8, 1] == [len(body) for body in bodies]


OPTIONS: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "events are the application's": (
        {"events": ["status"]},
        "events=message",
        ["of a", "of b", "of c"],
    ),
    "last is for who does not say": ({"last": 2}, "last=1", ["c"]),
    "… nor has a cursor": ({"last": 1, "events": [None]}, "after={}", ["b", "c"]),
    "after gives way to last": ({"after": "now"}, "last=1&events=status", ["of c"]),
}


@pytest.mark.parametrize(("options", "query", "expected"), OPTIONS.values(), ids=OPTIONS)
async def test_a_response_may_say_what_it_sends(
    hub: Hub,
    open_client: Open,
    session_id: str,
    options: dict[str, Any],
    query: str,
    expected: list[str],
) -> None:
    """Where both say something, the client does of where it begins, the application of what."""
    stream = await begun(hub, session_id)
    await stream.close()
    client = await open_client(app_of(hub, StreamResponse, **options))
    asked = query.format((await stream.info()).cursor(3))
    answer = await client.get(f"/events?session={session_id}&{asked}")

    assert expected == [event.data for event in events(answer.content)[:-1]]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"events": "status"}, TypeError),
        ({"events": []}, ValueError),
        ({"last": 0}, ValueError),
        ({"last": 1, "after": "now"}, ValueError),
    ],
)
def test_options_that_are_none_are_refused(
    new_hub: object, options: dict[str, Any], error: type[Exception]
) -> None:
    """When the response is made, not when a client comes."""
    with pytest.raises(error):
        Settings(**options)


def test_every_framework_asks_in_the_same_words(new_hub: object) -> None:
    """As a query string brings it: several times, or between commas."""
    asked = Question([("Accept", "*/*")], "events=a,%20b&events=message&last=2&show=tools")

    assert frozenset({"a", "b", "message", None}) == events_of(asked)
    assert (2, frozenset({"tools"})) == (last_of(asked), shown_of(asked))


async def test_curl_sees_what_tools_do(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """As text: what is said, and on request lines of what tools are asked and give."""
    stream, _ = await hub.register(session_id)
    await stream.publish(parts.TextDelta("1", "Let me look."))
    await stream.publish(parts.ToolInputAvailable("c", "look", {"at": 1}))
    await stream.publish("Yes.")
    await stream.close()
    path = f"{path_of(session_id)}?format=text"
    plain, shown = await client.get(path), await client.get(f"{path}&show=tools,reasoning")

    assert "Let me look.Yes." == plain.text
    assert 'Let me look.\n[tool] look {"at":1}\nYes.' == shown.text
