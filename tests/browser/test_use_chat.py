"""``useChat({ resume: true })`` of the AI SDK, unchanged, on a Python backend."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Response, expect

from streamhub import Hub, HubConfig, Status
from streamhub.formats.endings import told_of
from streamhub.testing.waiting import bounded, patience, unhurried

from ..conftest import RunPython, Serve
from ..support.chromium import Pages
from ..support.http_server import Port, ServerProcess
from .bundles import PACKAGES, bundle

pytestmark = pytest.mark.slow

#: Of a producer that is killed, in seconds: a test waits until it lapses.
LEASE = unhurried(2.0)
BOUND = 60.0

#: The model is a list in Redis: what a test pushes is what the answer says next.
APP = """
import json, os, sys
from contextlib import asynccontextmanager
import redis.asyncio
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from streamhub import Hub, HubConfig
from streamhub.http import chat_routes

url, directory, lease = sys.argv[1:]
hub = Hub.from_url(url, config=HubConfig(lease=float(lease)))
model = redis.asyncio.Redis.from_url(url)

@asynccontextmanager
async def lifespan(app):
    async with hub, model:
        yield

def answer(body):
    async def speak(stream):
        while True:
            said = json.loads((await model.blpop("model:" + body["id"]))[1])
            if said is None:
                return
            if "raise" in said:
                raise RuntimeError(said["raise"])
            await stream.publish(said["text"], event=said.get("event"))
    return speak

app = Starlette(
    routes=[
        *chat_routes(hub, answer),
        Mount("/", StaticFiles(directory=directory, html=True)),
    ],
    lifespan=lifespan,
)
"""


class Chat:
    """A chat in the browser, the model behind it, and the session between them."""

    def __init__(self, name: str, server: ServerProcess, pages: Pages, redis: Any) -> None:
        self.name = name
        self.server = server
        self.session_id = f"chat:{name}"
        #: Statuses of what tabs were answered when they asked to resume.
        self.resumed: list[int] = []
        self._pages = pages
        self._redis = redis

    async def open(self) -> Page:
        """One more tab; returns when it has asked whether there is something to resume."""
        page = await self._pages.open()
        page.on("response", self._answered)
        await self.load(page)
        return page

    async def load(self, page: Page) -> None:
        """Open the chat in the tab, or load it again."""
        async with page.expect_response(lambda answer: answer.url.endswith("/stream")):
            await page.goto(f"{self.server.url}/?chat={self.name}")

    async def say(self, *texts: str, event: str | None = None) -> None:
        for text in texts:
            await self._push({"text": text, "event": event})

    async def crash(self, reason: str) -> None:
        await self._push({"raise": reason})

    async def end(self) -> None:
        await self._push(None)

    async def _push(self, said: object) -> None:
        await self._redis.rpush(f"model:{self.name}", json.dumps(said))

    def _answered(self, answer: Response) -> None:
        if answer.url.endswith("/stream"):
            self.resumed.append(answer.status)


@pytest.fixture(scope="session", params=PACKAGES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, with each major of the AI SDK."""
    return bundle(PACKAGES[request.param], tmp_path_factory.mktemp("site"))


@pytest.fixture
def lease() -> float:
    """Of answers that the server writes; ``parametrize("lease", …)`` for another one."""
    return HubConfig().lease


@pytest.fixture
async def chat(
    site: Path,
    lease: float,
    serve: Serve,
    port: Port,
    pages: Pages,
    redis_url: str,
    redis_client: Any,
    session_id: str,
) -> Chat:
    server = await serve(APP, redis_url, str(site), str(lease), port=port)
    return Chat(session_id.partition(":")[2], server, pages, redis_client)


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    async with bounded(BOUND), Hub.from_url(redis_url) as hub:
        yield hub


async def send(page: Page) -> None:
    await page.click("#send")


async def answered(page: Page, text: str, status: str = "ready", *, broken: bool = False) -> str:
    """The id of the answer, once it reads ``text`` and the chat has that status; there is only
    one answer.

    :param broken: no part could be told its end, for the connection broke.
    """
    await expect(page.locator("#status")).to_have_text(status)
    await expect(page.locator("[data-role=assistant]")).to_have_count(1)
    part = page.locator("[data-role=assistant] [data-part=text]")
    await expect(part).to_have_text(text)
    # Text that is not written any more has no cursor that blinks, however it ended.
    state = "streaming" if status == "streaming" else "done"
    if not broken:
        await expect(part).to_have_attribute("data-state", state)
    message_id = await page.locator("[data-role=assistant]").get_attribute("data-id")
    assert message_id
    return message_id


async def test_an_answer_is_shown_as_it_is_written(chat: Chat) -> None:
    """Send, read along, done. Nothing was to be resumed before."""
    page = await chat.open()
    await send(page)
    await chat.say("Hello", ", ")
    await answered(page, "Hello, ", "streaming")
    await chat.say("world\n<b>1</b>")
    await chat.end()
    await answered(page, "Hello, world\n<b>1</b>")

    assert "Hello?" == await page.locator("[data-role=user]").text_content()
    assert [204] == chat.resumed


async def test_a_reload_in_the_middle_completes_the_answer(chat: Chat) -> None:
    """The page comes back with what it had kept of the answer, which is neither doubled nor given
    another id."""
    page = await chat.open()
    await send(page)
    await chat.say("Hello", ", ")
    before = await answered(page, "Hello, ", "streaming")
    await chat.load(page)
    assert before == await answered(page, "Hello, ", "streaming")
    await chat.say("world")
    await chat.end()

    assert before == await answered(page, "Hello, world")
    assert [204, 200] == chat.resumed


async def test_a_second_tab_sees_the_same(chat: Chat) -> None:
    """Also one that opens in the middle, and shows what the first one shows until the end."""
    first = await chat.open()
    await send(first)
    await chat.say("Hello")
    message_id = await answered(first, "Hello", "streaming")
    second = await chat.open()
    assert message_id == await answered(second, "Hello", "streaming")
    await chat.say(", world")
    for page in (first, second):
        assert message_id == await answered(page, "Hello, world", "streaming")
    await chat.end()
    for page in (first, second):
        assert message_id == await answered(page, "Hello, world")


async def test_g9_stop_stops_the_producer(chat: Chat, hub: Hub) -> None:
    """The button of one tab: every tab keeps what was written, and in Redis nobody writes on."""
    first = await chat.open()
    await send(first)
    await chat.say("Hello")
    await answered(first, "Hello", "streaming")
    second = await chat.open()
    await answered(second, "Hello", "streaming")
    await second.click("#stop")
    for page in (first, second):
        await answered(page, "Hello")
    stream = await hub.get(chat.session_id)
    assert stream is not None

    assert Status.CANCELLED == await stream.wait(patience(BOUND))
    assert "Hello" == await stream.text()
    assert "2" == (await second.locator("#stopped").text_content() or "")[:1]


async def test_g4_a_failure_is_an_error(chat: Chat) -> None:
    """The producer raises: the page shows what was written and that it failed, and not a word of
    the exception, which the log has."""
    page = await chat.open()
    await send(page)
    await chat.say("Hello")
    await answered(page, "Hello", "streaming")
    await chat.crash("the model is overloaded")
    await answered(page, "Hello", "error")

    await expect(page.locator("#error")).to_have_text(told_of("failed"))
    assert "the model is overloaded" in chat.server.stderr


#: Publishes two chunks into the session, and stays.
PRODUCER = f"""
import asyncio, sys
from streamhub import Hub, HubConfig

async def main(url, session_id):
    async with Hub.from_url(url, config=HubConfig(lease={LEASE})) as hub:
        stream, created = await hub.register(session_id)
        await stream.publish("Hello")
        await stream.flush()
        print("published")
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_g8_a_killed_producer_is_an_error(
    chat: Chat, run_python: RunPython, redis_url: str
) -> None:
    """A worker that dies leaves no answer that looks finished, also after a reload."""
    producer = await run_python(PRODUCER, redis_url, chat.session_id)
    assert "published" == await producer.line()
    page = await chat.open()
    await answered(page, "Hello", "streaming")
    await producer.kill()
    for again in range(2):
        if again:
            await chat.load(page)
        await answered(page, "Hello", "error")
        assert "gone" in (await page.locator("#error").text_content() or "")


# In version 3 of @ai-sdk/react the hook keeps from its transport that a resumed stream is a replay,
# and what it already shows stays in front of it.
@pytest.mark.parametrize("site", ["ai 7"], indirect=True)
@pytest.mark.parametrize("lease", [LEASE], ids=["short"])
async def test_g8_a_killed_server_is_an_error_and_the_next_one_goes_on(
    chat: Chat,
    pages: Pages,
    serve: Serve,
    port: Port,
    site: Path,
    lease: float,
    hub: Hub,
    redis_url: str,
) -> None:
    """The connection breaks, the chat says so, and when its tab is looked at again it takes up what
    another producer continues."""
    pages.expect_errors("net::ERR_INCOMPLETE_CHUNKED_ENCODING")
    page = await chat.open()
    await send(page)
    await chat.say("Hello")
    message_id = await answered(page, "Hello", "streaming")
    await chat.server.kill()
    await answered(page, "Hello", "error", broken=True)
    await serve(APP, redis_url, str(site), str(lease), port=port)
    lost = await hub.get(chat.session_id)
    assert lost is not None
    assert Status.LOST == await lost.wait(patience(BOUND))
    stream, created = await hub.register(chat.session_id, takeover="continue")
    assert created
    await page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    assert message_id == await answered(page, "Hello", "streaming")
    await stream.publish(", world")
    await stream.close()

    assert message_id == await answered(page, "Hello, world")


@pytest.mark.parametrize("site", ["ai 7"], indirect=True)
@pytest.mark.parametrize("lease", [LEASE], ids=["short"])
async def test_what_is_saved_is_what_the_page_shows(
    chat: Chat,
    pages: Pages,
    serve: Serve,
    port: Port,
    site: Path,
    lease: float,
    hub: Hub,
    redis_url: str,
) -> None:
    """Byte for byte: after a reload in the middle, a server that is killed while it writes a tool's
    input, and a continue by another process."""
    pages.expect_errors("net::ERR_INCOMPLETE_CHUNKED_ENCODING")
    page = await chat.open()
    async with hub.ends(chat.name) as ends:
        await send(page)
        await chat.say(*BEFORE[:3], event="ui")
        await chat.say("Let me")
        await expect(page.locator("[data-part=text]").last).to_have_text("Let me")
        await chat.load(page)
        await chat.say(" see.")
        await chat.say(*BEFORE[3:], event="ui")
        await expect(page.locator("[data-part=tool-look]")).to_contain_text('"at":"Os"')
        await chat.server.kill()
        await expect(page.locator("#status")).to_have_text("error")
        await serve(APP, redis_url, str(site), str(lease), port=port)
        lost = await hub.get(chat.session_id)
        assert lost is not None
        assert Status.LOST == await lost.wait(patience(BOUND))
        stream, created = await hub.register(chat.session_id, takeover="continue")
        assert created
        await page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
        await expect(page.locator("#status")).to_have_text("streaming")
        for part in AFTER:
            await stream.publish(part, event="ui")
        await stream.publish("Sunny.")
        await stream.close()
        await expect(page.locator("[data-part=text]").last).to_have_text("Sunny.")
        await expect(page.locator("#status")).to_have_text("ready")
        end = await anext(ends)
        await end.done()

    shown = await page.evaluate("(chat) => JSON.parse(localStorage[chat])", chat.name)
    assert json.dumps(end.message.to_dict()) == json.dumps(shown[-1])
    assert ["step-start", "reasoning", "text", "tool-look", "text"] == [
        part["type"] for part in end.message.parts
    ]
    assert "Let me see.Sunny." == end.message.text


BEFORE = [
    '{"type":"start-step"}',
    '{"type":"reasoning-start","id":"r"}',
    '{"type":"reasoning-delta","id":"r","delta":"They ask for…","providerMetadata":{"p":{"s":1}}}',
    '{"type":"tool-input-start","toolCallId":"t","toolName":"look","providerExecuted":true}',
    '{"type":"tool-input-delta","toolCallId":"t","inputTextDelta":"{\\"at\\": \\"Os"}',
]
AFTER = [
    '{"type":"tool-input-delta","toolCallId":"t","inputTextDelta":"lo\\"}"}',
    '{"type":"tool-input-available","toolCallId":"t","toolName":"look","input":{"at":"Oslo"}}',
    '{"type":"tool-output-available","toolCallId":"t","output":{"sky":"clear"}}',
    '{"type":"message-metadata","messageMetadata":{"usage":{"inputTokens":31}}}',
]


async def test_parts_of_the_application_pass_through(chat: Chat) -> None:
    """Its own UI message parts among plain text, and other event types as data parts; the same
    again after a reload."""
    page = await chat.open()
    await send(page)
    await chat.say("Hello")
    await chat.say('{"step":1}', event="progress")
    await chat.say('{"type":"data-weather","id":"w","data":{"city":"Oslo"}}', event="ui")
    await chat.say(", world")
    expected = [("data-progress", {"step": 1}), ("data-weather", {"city": "Oslo"})]
    for again in range(2):
        if again:
            await chat.load(page)
        await expect(page.locator("[data-part^=data-]")).to_have_count(2)
        assert expected == [
            (await part.get_attribute("data-part"), json.loads(await part.text_content() or ""))
            for part in await page.locator("[data-part^=data-]").all()
        ]
        texts = await page.locator("[data-role=assistant] [data-part=text]").all_text_contents()
        assert "Hello, world" == "".join(texts)
    await chat.end()
    await expect(page.locator("#status")).to_have_text("ready")


async def test_a_stream_of_parts_alone_is_not_wrapped(chat: Chat) -> None:
    """An application that speaks the protocol itself, as frames: its ids, its steps."""
    page = await chat.open()
    await send(page)
    parts: list[dict[str, Any]] = [
        {"type": "start", "messageId": "theirs"},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "r"},
        {"type": "reasoning-delta", "id": "r", "delta": "thinking"},
        {"type": "reasoning-end", "id": "r"},
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": "Hello"},
    ]
    await chat.say(*(f"data: {json.dumps(part)}\n\n" for part in parts))
    assert "theirs" == await answered(page, "Hello", "streaming")
    await chat.load(page)
    assert "theirs" == await answered(page, "Hello", "streaming")
    parts = [{"type": "text-end", "id": "t"}, {"type": "finish-step"}, {"type": "finish"}]
    await chat.say(*(f"data: {json.dumps(part)}\n\n" for part in parts), "data: [DONE]\n\n")
    await chat.end()

    assert "theirs" == await answered(page, "Hello")
    assert 1 == await page.locator("[data-part=reasoning]").count()


async def test_a_tool_of_the_page_is_answered_in_its_message(chat: Chat) -> None:
    """The page runs the tool and posts its output by itself: what the model says then goes on in
    that message, which is neither doubled nor loses its tool in a reload."""
    page = await chat.open()
    await send(page)
    await chat.say('{"type":"start-step"}', event="ui")
    call = {"type": "tool-input-available", "toolCallId": "t1", "toolName": "place", "input": {}}
    await chat.say(json.dumps(call), event="ui")
    await chat.end()
    tool = page.locator("[data-role=assistant] [data-part=tool-place]")
    await expect(tool).to_contain_text("input-available")
    await expect(page.locator("#status")).to_have_text("ready")
    before = await page.locator("[data-role=assistant]").get_attribute("data-id")
    await page.click("#place")
    await chat.say("Sunny")
    for again in range(2):
        if again:
            await chat.load(page)
        assert before == await answered(page, "Sunny", "streaming")
        await expect(tool).to_contain_text('"output":"Oslo"')
    await chat.say(" there")
    await chat.end()

    assert before == await answered(page, "Sunny there")
    await expect(tool).to_have_count(1)


async def test_a_second_question_gets_an_answer_of_its_own(chat: Chat) -> None:
    """The next answer replaces the first one's session, and is another message."""
    page = await chat.open()
    await send(page)
    await chat.say("one")
    await chat.end()
    first = await answered(page, "one")
    await send(page)
    await chat.say("two")
    await expect(page.locator("[data-role=assistant]")).to_have_count(2)
    await chat.load(page)
    await chat.end()
    await expect(page.locator("#status")).to_have_text("ready")
    answers = page.locator("[data-role=assistant]")

    assert ["one", "two"] == await answers.all_text_contents()
    assert first == await answers.first.get_attribute("data-id")
    assert first != await answers.last.get_attribute("data-id")
