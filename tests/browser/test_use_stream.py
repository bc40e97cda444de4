"""``useStream`` of LangGraph's React package, unchanged, on a graph behind ``langgraph_routes``."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, expect

from streamhub import Hub, Status
from streamhub.testing.waiting import until

from ..conftest import Serve
from ..support.http_server import ServerProcess
from .bundles import PACKAGES, bundle

pytest.importorskip("langgraph")

pytestmark = [pytest.mark.integrations, pytest.mark.slow]

#: The model says what ``POST /say?text=`` gives it, and is done with the empty text.
APP = """
import asyncio, sys
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from streamhub import Hub
from streamhub.http import langgraph_routes, lifespan

said = asyncio.Queue()

class Model(BaseChatModel):
    @property
    def _llm_type(self):
        return "told"

    def _generate(self, *args, **options):
        raise NotImplementedError

    async def _astream(self, messages, stop=None, run_manager=None, **options):
        while text := await said.get():
            yield ChatGenerationChunk(message=AIMessageChunk(text))
        yield ChatGenerationChunk(message=AIMessageChunk("", chunk_position="last"))

async def talk(state):
    return {"messages": [await Model().ainvoke(state["messages"])]}

async def ask(state):
    return {"messages": [AIMessage("so: " + interrupt({"sure": True}))]}

async def say(request):
    said.put_nowait(request.query_params["text"])
    return Response()

nodes = StateGraph(MessagesState).add_node(talk).add_node(ask)
graph = nodes.add_edge(START, "talk").add_edge("talk", "ask").compile(checkpointer=InMemorySaver())
hub = Hub.from_url(sys.argv[1])
app = Starlette(
    routes=[
        *langgraph_routes(hub, graph),
        Route("/say", say, methods=["POST"]),
        Mount("/", StaticFiles(directory=sys.argv[2], html=True)),
    ],
    lifespan=lifespan(hub),
)
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(PACKAGES["ai 7"], tmp_path_factory.mktemp("graph"), "graph.jsx")


async def say(server: ServerProcess, *texts: str) -> None:
    async with httpx.AsyncClient(verify=False) as client:
        for text in texts:
            await client.post(f"{server.url}/say", params={"text": text})


async def test_a_reload_an_approval_and_a_stop(
    serve: Serve, site: Path, page: Page, redis_url: str
) -> None:
    """A page that is loaded again goes on with the run; an interrupt is shown, and answered; the
    stop button stops the graph."""
    server = await serve(APP, redis_url, str(site))
    await page.goto(server.url)
    answer = page.locator("[data-type=ai]")

    await page.click("#send")
    await say(server, "Hel")
    await expect(answer).to_have_text("Hel")
    await page.reload()
    await expect(answer).to_have_text("Hel")
    await say(server, "lo", "")
    await expect(answer).to_have_text("Hello")
    await expect(page.locator("#interrupt")).to_have_text('{"sure":true}')

    await page.click("#approve")
    await expect(answer.last).to_have_text("so: yes")
    await expect(page.locator("#status")).to_have_text("ready")

    await page.click("#send")
    await say(server, "Once")
    await expect(answer.last).to_have_text("Once")
    await page.click("#stop")
    async with Hub.from_url(redis_url) as hub:

        async def stopped() -> bool:
            return [1 async for _ in hub.sessions(status=Status.CANCELLED)] == [1]

        await until(stopped)
    await expect(page.locator("#status")).to_have_text("ready")
    await expect(page.locator("#error")).to_be_empty()
