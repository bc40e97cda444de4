"""The clients that people have: curl, httpx, and the openai package as what an answer is drawn
from."""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import httpx
import openai
import pytest

from streamhub import Hub, LiveStream, Status
from streamhub.formats.endings import told_of
from streamhub.formats.sse import Event, EventParser
from streamhub.testing.waiting import bounded, patience

from ..conftest import Serve
from ..support.http_apps import SESSIONS
from ..support.http_server import Port, ServerProcess

pytestmark = pytest.mark.slow

BOUND = 30.0
#: curl's exit code for a transfer that broke off.
PARTIAL = 18


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    async with bounded(BOUND), Hub.from_url(redis_url) as hub:
        yield hub


@pytest.fixture
async def stream(hub: Hub, session_id: str) -> LiveStream:
    stream, _ = await hub.register(session_id)
    return stream


@pytest.fixture
async def server(serve: Serve, redis_url: str) -> ServerProcess:
    return await serve(SESSIONS, redis_url)


async def publish(stream: LiveStream, *texts: str) -> None:
    for text in texts:
        await stream.publish(text)
    await stream.flush()


def url_of(server: ServerProcess | Port, session_id: str) -> str:
    return f"{server.url}/sessions/{session_id}/stream"


async def curl(*arguments: str) -> Process:
    program = os.environ.get("CURL", "curl")
    return await asyncio.create_subprocess_exec(
        *(program, "--silent", "--no-buffer", "--max-time", str(BOUND), *arguments), stdout=PIPE
    )


async def rest_of(process: Process) -> tuple[str, int]:
    """What it prints from now on, and its exit code."""
    output, _ = await process.communicate()
    return output.decode(), process.returncode or 0


async def test_curl_prints_text_as_it_comes(
    server: ServerProcess, stream: LiveStream, session_id: str
) -> None:
    """``curl -N`` shows each chunk at once, nothing else, and ends well with the stream."""
    await publish(stream, "Hello", ", ")
    process = await curl(f"{url_of(server, session_id)}?format=text")
    assert process.stdout is not None
    assert b"Hello, " == await process.stdout.readexactly(7)
    await publish(stream, "wörld\n")
    assert "wörld\n".encode() == await process.stdout.readexactly(7)
    await stream.publish("{}", event="note")
    await stream.close()

    assert ("", 0) == await rest_of(process)


@pytest.mark.parametrize("end", ["failed", "cancelled", "removed"])
async def test_curl_exits_with_an_error_when_text_is_incomplete(
    server: ServerProcess, hub: Hub, stream: LiveStream, session_id: str, end: str
) -> None:
    """Text has no words for a failure: the transfer breaks off. A cancel is an end that somebody
    meant."""
    await publish(stream, "Hello")
    process = await curl("--header", "Accept: text/plain", url_of(server, session_id))
    assert process.stdout is not None
    assert b"Hello" == await process.stdout.readexactly(5)
    match end:
        case "failed":
            await stream.fail("the model is overloaded")
        case "cancelled":
            await stream.cancel()
        case _:
            await hub.remove(session_id)

    assert ("", 0 if end == "cancelled" else PARTIAL) == await rest_of(process)


async def test_curl_prints_events(
    server: ServerProcess, stream: LiveStream, session_id: str
) -> None:
    """Every byte of a small event stream."""
    await publish(stream, "one", "two\nlines")
    await stream.publish("{}", event="note")
    await stream.close()
    epoch = (await stream.info()).epoch

    expected = (
        f"id: {epoch}-1\ndata: one\n\n"
        f"id: {epoch}-2\ndata: two\ndata: lines\n\n"
        f"id: {epoch}-3\nevent: note\ndata: {{}}\n\n"
        f'id: {epoch}-3\nevent: end\ndata: {{"status":"finished","cursor":"{epoch}-3"}}\n\n'
    )
    assert (expected, 0) == await rest_of(await curl(url_of(server, session_id)))
    resumed = await curl("--header", f"Last-Event-ID: {epoch}-2", url_of(server, session_id))
    assert (expected.partition("lines\n\n")[2], 0) == await rest_of(resumed)


async def test_curl_prints_lines_of_json(
    server: ServerProcess, stream: LiveStream, session_id: str
) -> None:
    """A line per chunk, and one for the end."""
    await publish(stream, "one", "two\nlines")
    await stream.fail("the model is overloaded")
    epoch = (await stream.info()).epoch
    output, code = await rest_of(await curl(f"{url_of(server, session_id)}?format=ndjson"))

    assert 0 == code
    assert [
        {"data": "one", "cursor": f"{epoch}-1", "event": None},
        {"data": "two\nlines", "cursor": f"{epoch}-2", "event": None},
        {"status": "failed", "cursor": f"{epoch}-2", "error": told_of("failed")},
    ] == [json.loads(line) for line in output.splitlines()]


async def test_curl_cancels(server: ServerProcess, stream: LiveStream, session_id: str) -> None:
    """``curl -X POST …/cancel?wait=`` answers with the end."""
    process = await curl("--request", "POST", f"{server.url}/sessions/{session_id}/cancel?wait=20")
    output, code = await rest_of(process)

    assert (0, "cancelled") == (code, json.loads(output)["status"])
    assert Status.CANCELLED == (await stream.info()).status


async def events_of(url: str, after: str = "") -> AsyncGenerator[Event, None]:
    """The events of one response, as httpx delivers them; ends with the response."""
    parser = EventParser()
    headers = {"last-event-id": after} if after else {}
    async with (
        httpx.AsyncClient(timeout=patience(BOUND)) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        assert 200 == response.status_code, await response.aread()
        async for piece in response.aiter_bytes():
            for event in parser.feed(piece):
                yield event


async def read(url: str, count: int, after: str = "") -> list[Event]:
    """The next events; then it leaves."""
    async with aclosing(events_of(url, after)) as events:
        return [await anext(events) for _ in range(count)]


async def test_g3_httpx_resumes_where_it_left_off(
    server: ServerProcess, stream: LiveStream, session_id: str
) -> None:
    """It reads, leaves, comes back with ``Last-Event-ID``, and has each chunk once."""
    url = url_of(server, session_id)
    seen: list[Event] = []
    for number in range(1, 10, 3):
        await publish(stream, f"<{number}>", f"<{number + 1}>")
        missing = number + 1 - len(seen)
        seen += await read(url, missing, seen[-1].id if seen else "")
        await publish(stream, f"<{number + 2}>")
    await stream.close()
    seen += [event async for event in events_of(url, seen[-1].id)]

    assert [f"<{number}>" for number in range(1, 10)] == [event.data for event in seen[:-1]]
    assert "end" == seen[-1].event


async def test_g3_httpx_survives_a_killed_server(
    serve: Serve, port: Port, stream: LiveStream, session_id: str, redis_url: str
) -> None:
    """The broken connection is an error to httpx, never an end; the next server has the rest."""
    server = await serve(SESSIONS, redis_url, port=port)
    url = url_of(port, session_id)
    await publish(stream, "<1>", "<2>")
    async with aclosing(events_of(url)) as events:
        seen = [await anext(events), await anext(events)]
        await server.kill()
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(events)
    await publish(stream, "<3>")
    await stream.close()
    await serve(SESSIONS, redis_url, port=port)
    seen += [event async for event in events_of(url, seen[-1].id)]

    assert ["<1>", "<2>", "<3>"] == [event.data for event in seen[:-1]]
    assert "end" == seen[-1].event


#: Speaks the streaming part of OpenAI's chat API. Answers with the words of the question, or with
#: words without end if there are none; says on its output when a client has left.
MODEL = """
import asyncio, json
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

def event(delta, reason=None):
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "words"}
    return "data: " + json.dumps({**chunk, "choices": [choice]}) + "\\n\\n"

async def completions(request):
    asked = await request.json()
    assert asked["stream"] and asked["model"] == "words"
    words = asked["messages"][-1]["content"].split()

    async def speak():
        try:
            yield event({"role": "assistant", "content": ""})
            for word in words:
                yield event({"content": word + " "})
            while not words:
                yield event({"content": "and "})
                await asyncio.sleep(0.01)
            yield event({}, "stop")
            yield "data: [DONE]\\n\\n"
        except asyncio.CancelledError:
            print("left")
            raise

    return StreamingResponse(speak(), media_type="text/event-stream")

app = Starlette(routes=[Route("/v1/chat/completions", completions, methods=["POST"])])
"""


async def answer(client: openai.AsyncOpenAI, question: str) -> AsyncIterator[str]:
    """What an application hands to ``hub.run``."""
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": question}
    ]
    async with await client.chat.completions.create(
        model="words", messages=messages, stream=True
    ) as chunks:
        async for chunk in chunks:
            if token := chunk.choices[0].delta.content:
                yield token


async def test_an_answer_of_the_openai_package_reaches_a_client(
    serve: Serve, server: ServerProcess, hub: Hub, session_id: str
) -> None:
    """From the model through ``hub.run`` to an event stream in another process."""
    model = await serve(MODEL)
    async with openai.AsyncOpenAI(base_url=f"{model.url}/v1", api_key="none") as client:
        await hub.run(session_id, answer(client, "To be or not to be"))
        seen = [event async for event in events_of(url_of(server, session_id))]

    assert ["To ", "be ", "or ", "not ", "to ", "be "] == [event.data for event in seen[:-1]]
    assert "end" == seen[-1].event


async def test_g9_a_cancel_hangs_up_on_the_model(
    serve: Serve, server: ServerProcess, hub: Hub, session_id: str
) -> None:
    """A cancel over HTTP stops the request that costs money."""
    model = await serve(MODEL)
    async with (
        openai.AsyncOpenAI(base_url=f"{model.url}/v1", api_key="none") as client,
        httpx.AsyncClient(timeout=patience(BOUND)) as web,
    ):
        await hub.run(session_id, answer(client, ""))
        await read(url_of(server, session_id), 3)
        cancelled = await web.post(f"{server.url}/sessions/{session_id}/cancel?wait=20")

        assert (200, "cancelled") == (cancelled.status_code, cancelled.json()["status"])
        assert "left" == await model.line()
