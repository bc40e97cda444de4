"""The face that the page on writing one shows, run as it stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from starlette.applications import Starlette
from starlette.routing import Route

from streamhub import Hub, parts
from streamhub.formats import Format
from streamhub.http import Face

from .conftest import Open
from .serving import events, follow, stored

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-face.md"


def page_of(hub: Hub) -> dict[str, Any]:
    """The names that the page's Python defines, on this hub."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"hub": hub}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


@pytest.fixture
async def client(hub: Hub, open_client: Open) -> AsyncClient:
    names = page_of(hub)
    return await open_client(Starlette(routes=[Route("/{chat}", names["completions"])]))


def said(content: bytes) -> list[Any]:
    return [
        event.data if event.data == "[DONE]" else json.loads(event.data)
        for event in events(content)
    ]


async def test_the_face_of_the_page(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """Text alone, under one id, and an end that clients of OpenAI know."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a", "b\u2028")
    await stream.publish("{}", event="tool")
    await stream.publish("garbage", event="ui")
    await stream.publish(parts.TextDelta("t", "c"))
    await stream.close()
    *frames, done = said((await client.get(f"/{session_id}")).content)
    choices = [frame["choices"][0] for frame in frames]

    assert "[DONE]" == done
    assert 1 == len({frame["id"] for frame in frames})
    assert [{"content": "a"}, {"content": "b\u2028"}, {"content": "c"}, {}] == [
        one["delta"] for one in choices
    ]
    assert [None, None, None, "stop"] == [one["finish_reason"] for one in choices]


async def test_it_resumes(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """After the cursor that it takes from its own place in the request."""
    stream, _ = await hub.register(session_id)
    one, _ = await stored(stream, "a", "b")
    await stream.close()
    answer = await client.get(f"/{session_id}", params={"starting_after": one, "after": "x"})

    assert {"content": "b"} == said(answer.content)[0]["choices"][0]["delta"]


async def test_no_other_end_looks_like_one(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """A failure, and a session that is removed under its reader."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    async with follow(client, f"/{session_id}") as response:
        await response.next()
        await stream.fail("why")
        failed = await response.rest()
    stream, _ = await hub.register(session_id)
    await stored(stream, "b")
    async with follow(client, f"/{session_id}") as response:
        await response.next()
        await hub.remove(session_id)
        gone = await response.rest()
    codes = [[json.loads(event.data)["error"]["code"] for event in one] for one in (failed, gone)]

    assert [["failed"], ["gone"]] == codes
    assert "why" not in failed[0].data


async def test_what_is_not_there_and_what_is_refused(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """It has answers of its own for both."""
    await hub.register(session_id)
    refused = await client.get(f"/{session_id}", params={"starting_after": "x"})
    names = page_of(hub)

    assert (502, "InvalidCursor") == (refused.status_code, refused.json()["error"]["code"])
    assert isinstance(names["COMPLETIONS"], Face)
    assert 404 == names["COMPLETIONS"].missing().status_code


async def test_the_page_names_every_part(hub: Hub) -> None:
    """Of a face and of a format; its example has all parts of a format."""
    page = PAGE.read_text()
    parts = [name for name in vars(Format) if not name.startswith("_")]
    example = page_of(hub)["Completions"]

    assert [] == [name for name in Face.__dataclass_fields__ if f"`{name}" not in page]
    assert [] == [name for name in parts if not hasattr(example, name)]
