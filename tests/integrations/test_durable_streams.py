"""The stock clients of Durable Streams, unchanged, on real servers: cut off again and again, led to
another server, with the producer killed in a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from durable_streams import DurableStreamError

from streamhub.testing.waiting import bounded, until

from ..conftest import RunPython, Serve
from ..http.serving import served
from ..support.faulty_proxy import FaultyProxy
from ..support.node_clients import NodeClients
from ..support.programs import LEASE, PRODUCE

pytestmark = [pytest.mark.slow, pytest.mark.integrations]

BOUND = 60.0

#: Who produces is another process; this one answers pages, and serves streams.
APP = """
import sys
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from streamhub import Hub, HubConfig
from streamhub.http import durable_stream_url, durable_streams_routes, lifespan

hub = Hub.from_url(sys.argv[1], config=HubConfig(lease=float(sys.argv[2])))

async def located(request):
    stream = await hub.get(request.path_params.get("chat") or (await request.json())["id"])
    return Response(headers={"location": durable_stream_url(stream)})

routes = [
    Route("/api/chat", located, methods=["POST"]),
    Route("/api/chat/{chat}/stream", located),
    *durable_streams_routes(hub),
]
app = Starlette(routes=routes, lifespan=lifespan(hub))
"""

#: How each reads: what a client of Node.js is given.
CLIENTS: dict[str, dict[str, Any]] = {
    "sse": {"kind": "client", "live": "sse"},
    "long-poll": {"kind": "client", "live": "long-poll", "format": "json"},
    "text": {"kind": "client", "live": "sse", "text": True, "format": "text"},
    "text-long-poll": {"kind": "client", "live": True, "text": True, "format": "text"},
    "tanstack": {"kind": "tanstack", "format": "agui"},
}


@pytest.fixture(scope="module")
def clients() -> Iterator[NodeClients]:
    with NodeClients() as clients:
        yield clients


class Model:
    """What the page leaves to its reader."""

    async def stream(self, question: str) -> AsyncIterator[str]:
        for token in ("You ", "ask: ", question):
            yield token


def page() -> dict[str, Any]:
    """What the Python of the page on Durable Streams defines, on a hub in memory."""
    text = (Path(__file__).parents[2] / "docs" / "durable-streams.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    names: dict[str, Any] = {"model": Model()}
    exec(code.replace("redis://localhost:6379/0", "memory://"), names)
    return names


class PythonClient:
    """As the page on Durable Streams shows it."""

    def __init__(self, url: str) -> None:
        self.items: list[Any] = []
        self.task = asyncio.create_task(self._follow(url))

    async def _follow(self, url: str) -> None:
        async for item in page()["follow"](url):
            self.items.append(item)

    async def shown(self, text: str) -> None:
        async def is_there() -> bool:
            return self.task.done() or text in json.dumps(self.items)

        await until(is_there)


def said(name: str, items: list[Any]) -> str:
    """The text that a client has got."""
    if name.startswith("text"):
        return "".join(items)
    return "".join(
        one if isinstance(one, str) else one.get("delta", "")
        for one in items
        if isinstance(one, str) or one["type"] in ("text-delta", "TEXT_MESSAGE_CONTENT")
    )


async def test_clients_lose_and_double_nothing(
    serve: Serve, run_python: RunPython, clients: NodeClients, redis_url: str
) -> None:
    """While their connections are cut and led to another server, and their producer is killed: that
    is told to them as an error, never as an end. Where they are told to go on once another producer
    continues, they do so where they stood, and see the end."""
    lease = str(LEASE)
    one, other = await serve(APP, redis_url, lease), await serve(APP, redis_url, lease)
    producer = await run_python(PRODUCE, redis_url, "chat", "restart")
    assert "claimed" == await producer.line()
    async with bounded(BOUND), FaultyProxy(one.port) as proxy:
        server = f"http://127.0.0.1:{proxy.port}"
        await producer.send("publish 5")
        for name, given in CLIENTS.items():
            url = f"{server}/streams/chat?format={given.get('format', 'ui')}"
            await clients.call("durable/open", name=name, url=url, **given)
        await clients.call("open", kind="durable", name="chat", url=server)
        python = PythonClient(f"{server}/streams/chat?format=json")

        async def all_have(text: str) -> None:
            for name in CLIENTS:
                await clients.call("durable/shown", name=name, text=text)
            await clients.call("shown/resuming", name="chat", text=text)
            await python.shown(text)

        await all_have("<5>")
        proxy.lead_to(other.port)
        assert proxy.cut() >= len(CLIENTS)
        await producer.send("publish 5")
        await all_have("<10>")
        await producer.kill()
        with pytest.raises(DurableStreamError, match="424"):
            await python.task
        for name in CLIENTS:
            over = await clients.call("durable/over", name=name)
            assert (424, None) == (over["refused"], over.get("closed")), name
        over = await clients.call("over", name="chat")
        assert "424" in over["error"]

        follower = await run_python(PRODUCE, redis_url, "chat", "continue")
        assert "claimed" == await follower.line()
        for name in CLIENTS:
            await clients.call("durable/resume", name=name)
        await clients.call("resume", name="chat")
        await follower.send("publish 5")
        await follower.send("close")
        ends = {name: await clients.call("durable/over", name=name) for name in CLIENTS}
        over = await clients.call("over", name="chat")
        again = PythonClient(f"{server}/streams/chat?format=json")
        await again.task
        await clients.call("close", name="chat")

    whole = "".join(f"<{number}>" for number in range(1, 16))
    assert dict.fromkeys(CLIENTS, whole) == {
        name: said(name, end["items"]) for name, end in ends.items()
    }
    assert dict.fromkeys(CLIENTS, True) == {name: end["closed"] for name, end in ends.items()}
    assert all(end["cuts"] for name, end in ends.items() if CLIENTS[name].get("live") == "sse")
    (message,) = over["messages"]
    assert (whole, None) == (message["parts"][-1]["text"], over.get("error"))
    assert whole == "".join(again.items)
    assert whole[: -5 * 4] == "".join(python.items)


async def test_the_page_on_durable_streams_does_what_it_says() -> None:
    """Its application begins an answer and names its stream, which its client follows to the end;
    afterwards there is nothing to resume."""
    names = page()
    async with served(names["app"], lifespan="on") as url, httpx.AsyncClient(base_url=url) as web:
        message = {"role": "user", "parts": [{"type": "text", "text": "Why?"}]}
        begun = await web.post("/api/chat", json={"id": "1", "messages": [message]})
        parts = [part async for part in names["follow"](url + begun.headers["location"])]
        assert 204 == (await web.get("/api/chat/1/stream")).status_code
        await names["hub"].aclose()

    assert 201 == begun.status_code
    assert "You ask: Why?" == said("sse", parts)
    assert "finish" == parts[-1]["type"]
