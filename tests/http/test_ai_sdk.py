"""Sessions as UI message streams of the AI SDK: what is wrapped, what passes, how they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient, Response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response as Answer
from starlette.routing import Route

from streamhub import Hub, HubConfig, LiveStream
from streamhub.formats.endings import told_of
from streamhub.http import UIMessageStreamResponse
from streamhub.parts import MESSAGE_EVENT, message_id_of
from streamhub.testing.waiting import unhurried, until

from ..conftest import MakeHub
from .conftest import Open
from .serving import stored

#: As VercelAIAdapter.encode_stream of pydantic-ai 2.68 yields them: reasoning, a tool, a text.
PYDANTIC_AI = [
    'data: {"type":"start"}\n\n',
    'data: {"type":"start-step"}\n\n',
    'data: {"type":"reasoning-start","id":"r1"}\n\n',
    'data: {"type":"reasoning-delta","id":"r1","delta":"hm\\nno"}\n\n',
    'data: {"type":"reasoning-end","id":"r1"}\n\n',
    'data: {"type":"tool-input-start","toolCallId":"t1","toolName":"weather"}\n\n',
    'data: {"type":"tool-input-delta","toolCallId":"t1","inputTextDelta":"{\\"a\\": 1}"}\n\n',
    'data: {"type":"tool-output-available","toolCallId":"t1","output":"sunny\\n\\ndata: x"}\n\n',
    'data: {"type":"finish-step"}\n\n',
    'data: {"type":"start-step"}\n\n',
    'data: {"type":"text-start","id":"x1"}\n\n',
    'data: {"type":"text-delta","delta":"wörld\\n\\nline\\r\\nb\u2028","id":"x1"}\n\n',
    'data: {"type":"text-end","id":"x1"}\n\n',
    'data: {"type":"message-metadata","messageMetadata":{"pydantic_ai":{"timestamp":"2026"}}}\n\n',
    'data: {"type":"finish-step"}\n\n',
    'data: {"type":"finish"}\n\n',
    "data: [DONE]\n\n",
]


@pytest.fixture
async def client(hub: Hub, open_client: Open) -> AsyncClient:
    return await open_client(app_of(hub))


def app_of(hub: Hub, **options: Any) -> Starlette:
    async def respond(request: Request) -> Answer:
        stream = await hub.get(request.query_params["session"])
        resume = "resume" in request.query_params
        return UIMessageStreamResponse(stream, resume=resume, **options)

    return Starlette(routes=[Route("/ui", respond)])


async def asked(client: AsyncClient, session_id: str, **query: str) -> Response:
    return await client.get("/ui", params={"session": session_id, **query})


def parts(answer: Response) -> list[dict[str, Any]]:
    """All parts; every frame is one line, and ``[DONE]`` comes last and once."""
    frames = answer.content.decode().split("\n\n")
    assert ["data: [DONE]", ""] == frames[-2:]
    assert all(one.startswith("data: {") and "\n" not in one for one in frames[:-2])
    return [json.loads(one.removeprefix("data: ")) for one in frames[:-2]]


def types(answer: Response) -> list[str]:
    return [part["type"] for part in parts(answer)]


async def told(hub: Hub, client: AsyncClient, session_id: str, *chunks: Any) -> Response:
    """What a client is sent of a finished answer."""
    stream, _ = await hub.register(session_id)
    for chunk in chunks:
        data, event = chunk if isinstance(chunk, tuple) else (chunk, None)
        await stream.publish(data, event=event)
    await stream.close()
    return await asked(client, session_id)


def ui(part: Any) -> tuple[str, str]:
    return json.dumps(part), "ui"


async def test_text_is_wrapped(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """In a step and a text part of a message, with the headers of the protocol."""
    answer = await told(hub, client, session_id, "Hal", "lo\n\ndata: x")
    info = await (await found(hub, session_id)).info()
    found_parts = parts(answer)

    assert [
        {"type": "start", "messageId": message_id_of(info)},
        {"type": "start-step"},
        {"type": "text-start", "id": "text-1"},
        {"type": "text-delta", "id": "text-1", "delta": "Hal"},
        {"type": "text-delta", "id": "text-1", "delta": "lo\n\ndata: x"},
        {"type": "text-end", "id": "text-1"},
        {"type": "finish-step"},
        {"type": "finish"},
    ] == found_parts
    assert "v1" == answer.headers["x-vercel-ai-ui-message-stream"]
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    assert "no" == answer.headers["x-accel-buffering"]


async def found(hub: Hub, session_id: str) -> LiveStream:
    stream = await hub.get(session_id)
    assert stream is not None
    return stream


TEXT = ["start-step", "text-start", "text-delta"]


@pytest.mark.parametrize(
    ("chunks", "wanted"),
    [
        ([], ["start", "finish"]),
        ([""], ["start", *TEXT, "text-end", "finish-step", "finish"]),
        ([('{"a":1}', "tool")], ["start", "data-tool", "finish"]),
        (
            ["a", ("1", "n"), "b"],
            ["start", *TEXT, "data-n", "text-delta", "text-end", "finish-step", "finish"],
        ),
        # A part of the application's own before any of ours: the message has begun by then.
        (
            [ui({"type": "reasoning-start", "id": "r"})],
            ["start", "reasoning-start", "reasoning-end", "finish"],
        ),
        (
            [ui({"type": "data-x", "data": 1}), "a"],
            ["start", "data-x", *TEXT, "text-end", "finish-step", "finish"],
        ),
        (
            [ui({"type": "start", "messageId": "m"}), "a"],
            ["start", *TEXT, "text-end", "finish-step", "finish"],
        ),
        (
            ["a", ui({"type": "source-url", "sourceId": "s", "url": "u"}), "b"],
            [
                "start",
                *TEXT,
                "source-url",
                "text-delta",
                "text-end",
                "finish-step",
                "finish",
            ],
        ),
        (["a", ui({"type": "finish"})], ["start", *TEXT, "text-end", "finish-step", "finish"]),
        (["a", ui({"type": "error", "errorText": "x"})], ["start", *TEXT, "text-end", "error"]),
        (["a", ui({"type": "abort"})], ["start", *TEXT, "text-end", "abort"]),
        ([("no json", "ui")], ["start", "data-ui", "finish"]),
        (
            ['data: {"type":"start"}', "x"],
            ["start", *TEXT, "text-delta", "text-end", "finish-step", "finish"],
        ),
        (["data: hello\n\n"], ["start", *TEXT, "text-end", "finish-step", "finish"]),
        (
            ["x", 'data: {"type":"finish"}\n\n'],
            ["start", *TEXT, "text-delta", "text-end", "finish-step", "finish"],
        ),
        (["data: [DONE]\n\n"], ["start", "finish"]),
    ],
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_what_becomes_of_chunks(
    hub: Hub, client: AsyncClient, session_id: str, chunks: list[Any], wanted: list[str]
) -> None:
    """What the application leaves out is put around; what it says is not said twice."""
    assert wanted == types(await told(hub, client, session_id, *chunks))


@pytest.mark.parametrize("joined", [False, True])
async def test_the_frames_of_pydantic_ai_pass_through(
    hub: Hub, client: AsyncClient, session_id: str, joined: bool
) -> None:
    """As they are, one by one or many in a chunk; ``[DONE]`` is not sent twice. Only what some
    parsers take for a line break is escaped, and the message gets the id that each resume gives
    it: without one, a page that resumes shows the answer twice."""
    chunks = ["".join(PYDANTIC_AI)] if joined else PYDANTIC_AI
    answer = await told(hub, client, session_id, *chunks)
    message_id = message_id_of(await (await found(hub, session_id)).info())
    started = PYDANTIC_AI[0].replace("}", f',"messageId":"{message_id}"}}')

    assert "".join([started, *PYDANTIC_AI[1:]]).replace("\u2028", "\\u2028") == (
        answer.content.decode()
    )
    assert answer.content == (await asked(client, session_id)).content


async def test_frames_that_break_off_end_as_an_error(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """The producer's own ``finish`` never came."""
    stream, _ = await hub.register(session_id)
    await stored(stream, *PYDANTIC_AI[:12])
    await stream.fail("why")
    answer = await asked(client, session_id)

    assert ("text-delta", "text-end", "error") == tuple(types(answer)[-3:])


@pytest.mark.parametrize(
    "text", ['{\n "type": "data-x",\r\n "data": "a\\nb"\n}', '{"type":"data-x","data":"a\\nb"}']
)
async def test_a_part_in_many_lines_is_sent_in_one(
    hub: Hub, client: AsyncClient, session_id: str, text: str
) -> None:
    """JSON as somebody has formatted it."""
    answer = await told(hub, client, session_id, (text, "ui"))

    assert {"type": "data-x", "data": "a\nb"} == parts(answer)[1]


@pytest.mark.parametrize(
    ("text", "value"),
    [("{}", {}), ("[1]", [1]), ("x", "x"), ("", ""), ('"x"', "x"), ("null", None)],
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_data_parts_hold_json_or_text(
    hub: Hub, client: AsyncClient, session_id: str, text: str, value: Any
) -> None:
    """Whichever the chunk is."""
    answer = await told(hub, client, session_id, (text, "tool"))

    assert {"type": "data-tool", "data": value} == parts(answer)[1]


async def test_a_failure_is_an_error_part(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """After the open text was closed; never a ``finish``. The text of an exception is none of a
    client's business."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    await stream.fail(ValueError("why"))
    answer = await asked(client, session_id)

    assert ["start", *TEXT, "text-end", "error"] == types(answer)
    assert told_of("failed") == parts(answer)[-1]["errorText"]
    assert "ValueError: why" == (await stream.info()).error


async def test_a_cancel_is_an_abort_part(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """After the open text was closed."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    await stream.cancel()
    await stream.close()

    assert ["start", *TEXT, "text-end", "abort"] == types(await asked(client, session_id))


async def test_a_lost_producer_and_then_a_continued_one(
    make_hub: MakeHub, open_client: Open, session_id: str
) -> None:
    """An error that names no generation; resuming replays it, too. Once another has gone on it is
    one message, with the same id."""
    config = HubConfig(lease=unhurried(0.5))
    hub, first, second = make_hub(config), make_hub(config), make_hub(config)
    client = await open_client(app_of(hub))
    stream, _ = await first.register(session_id)
    await stored(stream, "a")
    await first.aclose()
    lost = await asked(client, session_id, resume="")
    stream, _ = await second.register(session_id, takeover="continue")
    await stored(stream, "b")
    await stream.close()
    whole = await asked(client, session_id)

    assert "error" == types(lost)[-1]
    assert "gone" in parts(lost)[-1]["errorText"]
    assert parts(lost)[0] == parts(whole)[0]
    assert ["a", "b"] == [part["delta"] for part in parts(whole) if "delta" in part]


async def test_what_clients_are_told_is_the_applications_choice(
    hub: Hub, open_client: Open, session_id: str
) -> None:
    """The reason of a failure may be the text of an exception; so is the message's id."""
    client = await open_client(
        app_of(hub, error_text=lambda status, reason: f"{status}!", message_id="mine")
    )
    stream, _ = await hub.register(session_id)
    await stream.fail("secret")
    answer = await asked(client, session_id)

    assert [
        {"type": "start", "messageId": "mine"},
        {"type": "error", "errorText": "failed!"},
    ] == parts(answer)


async def test_messages_of_all_chats_have_ids_of_their_own(make_hub: MakeHub) -> None:
    """However many begin at once; the same from every instance, and none shows its session's id."""
    hub, other = make_hub(), make_hub()
    names = [f"chat:alice-{n}" for n in range(200)]
    await asyncio.gather(*(hub.register(name) for name in names))
    first, second = [
        [message_id_of(await (await found(one, name)).info()) for name in names]
        for one in (hub, other)
    ]

    assert first == second
    assert len(names) == len(set(first))
    assert not any("alice" in one for one in first)


#: A message as a page of ``ai`` 7 has it, after its tool has answered.
MESSAGE = {
    "id": "theirs",
    "role": "assistant",
    "metadata": {"model": "m"},
    "parts": [
        {"type": "step-start"},
        {"type": "reasoning", "text": "hm", "state": "done"},
        {"type": "text", "text": "Let me see.", "state": "done"},
        {
            "type": "tool-weather",
            "toolCallId": "t1",
            "state": "output-available",
            "input": {"city": "Oslo"},
            "output": "sunny",
        },
        {"type": "data-note", "id": "n", "data": 1},
    ],
}


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_an_answer_that_goes_on_in_a_message(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """It keeps that message's id, whatever the source calls it. Who asked has its parts already;
    who resumes builds the message anew, and is sent them, too."""
    stream, _ = await hub.register(session_id)
    await stream.publish(json.dumps(MESSAGE), event=MESSAGE_EVENT)
    await stream.publish('{"type":"start","messageId":"other"}', event="ui")
    await stored(stream, "Sunny.")
    follows = asyncio.create_task(asked(client, session_id))
    resumes = asyncio.create_task(asked(client, session_id, resume=""))

    async def both_read() -> bool:
        return hub.statistics().subscribers == 2

    await until(both_read)
    await stream.close()
    followed, resumed = parts(await follows), parts(await resumes)
    rest = [*TEXT, "text-end", "finish-step", "finish"]

    assert ["start", "start", *rest] == [part["type"] for part in followed]
    assert {"theirs"} == {one["messageId"] for one in followed + resumed if "messageId" in one}
    assert [
        *("start", "start-step", "reasoning-start", "reasoning-delta", "reasoning-end"),
        *("text-start", "text-delta", "text-end", "tool-input-available", "tool-output-available"),
        *("data-note", "finish-step", "start", *rest),
    ] == [part["type"] for part in resumed]
    assert ({"model": "m"}, "sunny") == (resumed[0]["messageMetadata"], resumed[9]["output"])


@pytest.mark.parametrize("end", ["finished", "failed", "cancelled"])
async def test_resuming_what_has_ended_is_204(
    hub: Hub, client: AsyncClient, session_id: str, end: str
) -> None:
    """And what does not exist; asked for without ``resume`` an ended one is replayed."""
    stream, _ = await hub.register(session_id)
    if end == "cancelled":
        await stream.cancel()
    await (stream.fail("x") if end == "failed" else stream.close())
    resumed = await asked(client, session_id, resume="")
    unknown = await asked(client, "unknown", resume="")

    assert [(204, b"")] * 2 == [(one.status_code, one.content) for one in (resumed, unknown)]
    assert 200 == (await asked(client, session_id)).status_code


async def test_a_cursor_is_ignored(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """It is always all from the start, whatever a browser or a proxy adds."""
    await told(hub, client, session_id, "a")
    answer = await client.get(
        "/ui", params={"session": session_id, "after": "x"}, headers={"last-event-id": "x"}
    )

    assert ["start", *TEXT, "text-end", "finish-step", "finish"] == types(answer)


async def test_an_answer_that_is_replaced_is_an_error(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """What follows is another message."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    async with client.stream("GET", "/ui", params={"session": session_id}) as response:
        pieces: AsyncIterator[bytes] = response.aiter_raw()
        body = await anext(pieces)
        await hub.remove(session_id)
        async for piece in pieces:
            body += piece

    assert b'"type":"text-end"' in body
    assert b'"type":"error"' in body
    assert b'"type":"finish"' not in body
    assert body.endswith(b"data: [DONE]\n\n")
