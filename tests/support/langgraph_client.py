"""A run of a graph behind ``langgraph_routes``, in a process, and LangGraph's own clients of it."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["APP", "CLIENTS"]

#: Arguments: URL of the store, seconds of the lease. The graph streams 0, 1, 2 … 19, each as
#: soon as ``POST /allow/{thread}?count=`` lets it.
APP = """
import asyncio, sys
from collections import defaultdict
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from langgraph.config import get_config, get_stream_writer
from langgraph.graph import START, StateGraph
from streamhub import Hub, HubConfig
from streamhub.http import langgraph_routes, lifespan

allowed = defaultdict(lambda: asyncio.Semaphore(0))

async def count(state: dict) -> dict:
    write = get_stream_writer()
    thread = get_config()["configurable"]["thread_id"]
    for number in range(20):
        await allowed[thread].acquire()
        write({"number": number})
    return {}

async def allow(request):
    for _ in range(int(request.query_params["count"])):
        allowed[request.path_params["thread"]].release()
    return Response()

graph = StateGraph(dict).add_node(count).add_edge(START, "count").compile()
hub = Hub.from_url(sys.argv[1], config=HubConfig(lease=float(sys.argv[2])))
routes = langgraph_routes(hub, graph)
app = Starlette(
    routes=[*routes, Route("/allow/{thread}", allow, methods=["POST"])], lifespan=lifespan(hub)
)
"""

_PYTHON = """
import asyncio, json, sys
from langgraph_sdk import get_client

async def main(url, thread):
    def created(run):
        print(json.dumps({"event": "created", "data": run["run_id"]}))

    client = get_client(url=url, api_key=None)
    async for part in client.runs.stream(
        thread, "agent", input={}, stream_mode=["custom"], on_run_created=created
    ):
        print(json.dumps({"id": part.id, "event": part.event, "data": part.data}))

asyncio.run(main(*sys.argv[1:]))
"""

#: Programs that run the graph and print what they are told, each event as a line of JSON. They
#: take the server's address and a thread.
CLIENTS: dict[str, list[str]] = {
    "langgraph-sdk": [sys.executable, "-u", "-c", _PYTHON],
    "@langchain/langgraph-sdk": [
        str(Path(sys.executable).with_name("node")),
        str(Path(__file__).parents[1] / "browser" / "langgraph_client.mjs"),
    ],
}
