"""The routes of LangGraph's runs: what is streamed, refused, stopped and stored; whose it is."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import httpx
import pytest

from streamhub import Hub, HubConfig, Status
from streamhub.formats.sse import Event
from streamhub.http import langgraph_routes
from streamhub.testing.waiting import unhurried, within

from ..conftest import MakeHub
from ..support.backends import BACKENDS, NewHub
from .conftest import Open
from .serving import Followed, events, follow

pytest.importorskip("langgraph")

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from starlette.applications import Starlette
from starlette.requests import Request

pytestmark = pytest.mark.integrations


class State(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]
    asks: bool
    fails: bool
    waits: bool


class Graph:
    """A model in a subgraph, then a node that does what the input says."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.stopped = asyncio.Event()
        self.saver = InMemorySaver()
        model = GenericFakeChatModel(messages=iter([AIMessage("one two three")] * 20))

        async def talk(state: State) -> State:
            get_stream_writer()({"step": 1})
            return {"messages": [await model.ainvoke(state["messages"])]}

        async def act(state: State) -> State:
            if state.get("fails"):
                raise ValueError("the secret: 7")
            if state.get("waits"):
                self.waiting.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    self.stopped.set()
            if state.get("asks"):
                return {"messages": [AIMessage(f"so: {interrupt({'question': 'sure?'})}")]}
            return {}

        inner = StateGraph(State).add_node("talk", talk).add_edge(START, "talk").compile()
        outer = StateGraph(State).add_node("model", inner).add_node("act", act)
        outer = outer.add_edge(START, "model").add_edge("model", "act")
        self.compiled = outer.compile(checkpointer=self.saver)


@pytest.fixture(params=["memory"])
def new_hub(request: pytest.FixtureRequest) -> NewHub:
    """Of what stores differ in nothing is here: test_langgraph_clients.py has another one."""
    name: str = request.param
    return BACKENDS[name](request)


@pytest.fixture
def graph() -> Graph:
    return Graph()


@pytest.fixture
async def client(hub: Hub, open_client: Open, graph: Graph) -> httpx.AsyncClient:
    return await open_client(Starlette(routes=langgraph_routes(hub, graph.compiled)))


@pytest.fixture
def thread() -> str:
    return str(uuid4())


def asked(mode: Any = "values", **more: Any) -> dict[str, Any]:
    state: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
    # Each time: a thread remembers them.
    state |= {name: more.pop(name, False) for name in ("asks", "fails", "waits")}
    return {"assistant_id": "agent", "input": state, "stream_mode": mode, **more}


async def ran(client: httpx.AsyncClient, thread: str, body: dict[str, Any]) -> list[Event]:
    answer = await client.post(f"/threads/{thread}/runs/stream", json=body)
    assert 200 == answer.status_code, answer.text
    return events(answer.content)


def data(event: Event) -> Any:
    return json.loads(event.data)


async def test_events_are_named_after_their_modes(client: httpx.AsyncClient, thread: str) -> None:
    """Which run it is comes first, the end last; pieces of messages are told with their facts, and
    all as its models dump themselves."""
    answer = await client.post(
        f"/threads/{thread}/runs/stream",
        json=asked(["messages-tuple", "updates", "custom", "values"], stream_subgraphs=True),
    )
    found = events(answer.content)
    run_id = data(found[0])["run_id"]
    modes = [one.event.partition("|")[0] for one in found]
    pieces = [data(one) for one in found if one.event.startswith("messages|model:")]
    last_values = [data(one) for one in found if one.event == "values"][-1]

    assert ["metadata", "values"] == modes[:2]
    assert {"metadata", "messages", "updates", "custom", "values", "end"} == {*modes}
    assert {"run_id": run_id, "status": "success"} == data(found[-1])
    assert ["one", " ", "two", " ", "three"] == [piece["content"] for piece, _ in pieces]
    assert {"AIMessageChunk"} == {piece["type"] for piece, _ in pieces}
    assert {"talk"} == {facts["langgraph_node"] for _, facts in pieces}
    assert ["hi", "one two three"] == [one["content"] for one in last_values["messages"]]
    assert f"/threads/{thread}/runs/{run_id}" == answer.headers["content-location"]
    assert f"/threads/{thread}/runs/{run_id}/stream" == answer.headers["location"]


async def test_a_run_is_read_again_from_anywhere(client: httpx.AsyncClient, thread: str) -> None:
    """After each of its events, from the start without an id and with -1, and of some modes only:
    together it is what was told at first."""
    told = await ran(client, thread, asked(["messages-tuple", "values"]))
    where = f"/threads/{thread}/runs/{data(told[0])['run_id']}/stream"

    for count, event in enumerate(told[:-1], 1):
        rest = await client.get(where, headers={"last-event-id": event.id})
        assert told[count:] == events(rest.content)
    for start in ({}, {"last-event-id": "-1"}):
        assert told == events((await client.get(where, headers=start)).content)
    some = await client.get(where, params={"stream_mode": "values"})
    assert [one for one in told if one.event != "messages"] == events(some.content)
    assert f"{where}?stream_mode=values" == some.headers["location"]


async def test_messages_are_told_as_they_grow(client: httpx.AsyncClient, thread: str) -> None:
    """The mode ``messages`` of LangGraph's server gives the whole of what there is each time."""
    found = await ran(client, thread, asked("messages", stream_subgraphs=True))
    names = [one.event.partition("|")[0] for one in found[1:-1]]
    grown = [data(one)[0]["content"] for one in found[2:-1]]

    assert ["messages/metadata", *["messages/partial"] * 5] == names
    assert ["one", "one ", "one two", "one two ", "one two three"] == grown


async def test_an_interrupt_is_told_and_resumed(client: httpx.AsyncClient, thread: str) -> None:
    """In whichever mode; the thread says that it waits, and the answer goes on where it stood."""
    told = await ran(client, thread, asked("custom", asks=True))
    waiting = (await client.get(f"/threads/{thread}")).json()
    state = (await client.get(f"/threads/{thread}/state")).json()
    resumed = await ran(
        client,
        thread,
        {"assistant_id": "agent", "command": {"resume": "yes"}, "stream_mode": "values"},
    )
    states = (await client.post(f"/threads/{thread}/history", json={"limit": 2})).json()

    assert ["metadata", "values", "end"] == [one.event for one in told]
    assert {"question": "sure?"} == data(told[1])["__interrupt__"][0]["value"]
    assert "interrupted" == waiting["status"]
    assert ["act"] == state["next"]
    assert {"question": "sure?"} == state["tasks"][0]["interrupts"][0]["value"]
    assert "so: yes" == data(resumed[-2])["messages"][-1]["content"]
    assert "idle" == (await client.get(f"/threads/{thread}")).json()["status"]
    assert [[], ["act"]] == [one["next"] for one in states]


@pytest.mark.parametrize(
    ("show_errors", "told"),
    [
        (True, {"error": "ValueError", "message": "the secret: 7"}),
        (
            False,
            {
                "error": "failed",
                "message": "The answer could not be finished: something went wrong.",
            },
        ),
    ],
)
async def test_a_graph_that_raises_is_an_error(
    hub: Hub,
    open_client: Open,
    graph: Graph,
    thread: str,
    caplog: pytest.LogCaptureFixture,
    show_errors: bool,
    told: dict[str, str],
) -> None:
    """And no end; what was raised is told where the application wants that, and logged."""
    routes = langgraph_routes(hub, graph.compiled, show_errors=show_errors)
    client = await open_client(Starlette(routes=routes))
    found = await ran(client, thread, asked("values", fails=True))
    status = (await client.get(f"/threads/{thread}/runs/{data(found[0])['run_id']}")).json()
    logged = caplog.text
    caplog.clear()

    assert "error" == found[-1].event
    assert "end" not in [one.event for one in found]
    assert told == data(found[-1])
    assert "error" == status["status"]
    assert "the secret: 7" in logged


async def begun(client: httpx.AsyncClient, thread: str, graph: Graph, **more: Any) -> str:
    """A run that waits in the middle; its id."""
    answer = await client.post(f"/threads/{thread}/runs", json=asked("values", waits=True, **more))
    await within(graph.waiting.wait())
    run_id: str = answer.json()["run_id"]
    return run_id


async def test_a_cancel_stops_the_graph(
    client: httpx.AsyncClient, thread: str, graph: Graph
) -> None:
    """``wait=1`` is answered when it has ended, and again when that was long ago; who follows is
    told that it was interrupted, and the thread is free."""
    run_id = await begun(client, thread, graph)
    where = f"/threads/{thread}/runs/{run_id}"
    assert "running" == (await client.get(where)).json()["status"]
    async with follow(client, f"{where}/stream") as following:
        await following.take(2)
        stopped = await client.post(f"{where}/cancel?wait=1&action=interrupt")
        rest = await following.rest()

    assert 204 == stopped.status_code
    assert graph.stopped.is_set()
    assert ("end", {"run_id": run_id, "status": "interrupted"}) == (rest[-1].event, data(rest[-1]))
    assert "interrupted" == (await client.get(where)).json()["status"]
    assert 202 == (await client.post(f"{where}/cancel?wait=0")).status_code
    assert "end" == (await ran(client, thread, asked()))[-1].event
    assert 404 == (await client.post(f"/threads/{thread}/runs/other/cancel")).status_code


async def test_one_run_of_a_thread_goes_on_at_a_time(
    client: httpx.AsyncClient, thread: str, graph: Graph
) -> None:
    """Another one is refused, or takes its place; other threads are not concerned."""
    first = await begun(client, thread, graph)
    path = f"/threads/{thread}/runs/stream"
    refused = await client.post(path, json=asked())
    elsewhere = await ran(client, str(uuid4()), asked())
    instead = await ran(client, thread, asked(multitask_strategy="interrupt"))
    listed = (await client.get(f"/threads/{thread}/runs")).json()

    assert (409, "busy") == (refused.status_code, refused.json()["code"])
    assert "end" == elsewhere[-1].event
    assert "success" == data(instead[-1])["status"]
    assert [("success", data(instead[0])["run_id"]), ("interrupted", first)] == [
        (one["status"], one["run_id"]) for one in listed
    ]


async def test_runs_that_begin_at_once_take_each_others_place(
    client: httpx.AsyncClient, thread: str
) -> None:
    """Though one that has its thread has not begun yet: all but the last are interrupted, soon."""

    async def one() -> str:
        body = asked(waits=True, multitask_strategy="interrupt")
        async with client.stream("POST", f"/threads/{thread}/runs/stream", json=body) as answer:
            assert 200 == answer.status_code
            return data(await Followed(answer).next())["run_id"]  # type: ignore[no-any-return]

    begun = await within(asyncio.gather(*(one() for _ in range(4))))

    listed = (await client.get(f"/threads/{thread}/runs")).json()
    assert {*begun} == {one["run_id"] for one in listed}
    assert ["interrupted"] * 3 + ["running"] == sorted(one["status"] for one in listed)
    await client.post(f"/threads/{thread}/runs/{listed[0]['run_id']}/cancel?wait=1")


@pytest.mark.parametrize("stated", ["cancel", "continue"])
async def test_a_client_that_leaves_stops_what_it_said_it_would(
    hub: Hub, client: httpx.AsyncClient, thread: str, graph: Graph, stated: str
) -> None:
    """``on_disconnect="cancel"`` cancels the run; otherwise it goes on."""
    body = asked(waits=True, on_disconnect=stated)
    async with client.stream("POST", f"/threads/{thread}/runs/stream", json=body) as answer:
        following = Followed(answer)
        run_id = data(await following.next())["run_id"]
        await within(graph.waiting.wait())
    stream = await hub.get(f"run:{thread}:{run_id}")
    assert stream is not None
    if stated == "cancel":
        assert Status.CANCELLED == await within(stream.wait())
        assert "disconnected" in ((await stream.info()).error or "")
    else:
        assert Status.ACTIVE == (await stream.info()).status
        await stream.cancel(wait=5)


async def test_a_server_that_shuts_down_is_no_client_that_leaves(
    hub: Hub, client: httpx.AsyncClient, thread: str, graph: Graph
) -> None:
    """The response breaks off, without an end of the run and without an error of the server."""
    body = asked(waits=True, on_disconnect="cancel")
    async with client.stream("POST", f"/threads/{thread}/runs/stream", json=body) as answer:
        following = Followed(answer)
        run_id = data(await following.next())["run_id"]
        await within(graph.waiting.wait())
        stream = await hub.get(f"run:{thread}:{run_id}")
        assert stream is not None
        await hub.aclose()
        rest = await following.rest()
    assert {"end", "error"}.isdisjoint([one.event for one in rest])
    assert graph.stopped.is_set()


async def test_a_thread_for_one_run_alone_is_forgotten(
    client: httpx.AsyncClient, graph: Graph
) -> None:
    """Unless it is to be kept; its events stay for as long as those of others."""
    kept: dict[bool, str] = {}
    for keep in (False, True):
        more = {"on_completion": "keep"} if keep else {}
        answer = await client.post("/runs/stream", json=asked(**more))
        kept[keep] = answer.headers["content-location"].split("/")[2]
        assert 200 == (await client.get(answer.headers["location"])).status_code

    assert [kept[True]] == [*graph.saver.storage]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"multitask_strategy": "enqueue"}, "multitask_strategy may be reject or interrupt"),
    ({"multitask_strategy": "rollback"}, "multitask_strategy"),
    ({"stream_mode": "events"}, "stream_mode may be one or several of values, "),
    ({"stream_mode": [3]}, "stream_mode"),
    ({"stream_mode": ["messages", "messages-tuple"]}, "one of messages and messages-tuple"),
    ({"webhook": "https://example.org"}, "on_end"),
    ({"after_seconds": 5}, "after_seconds"),
    ({"strict_resume": True}, "strict_resume"),
    ({"on_disconnect": "perhaps"}, "on_disconnect may be continue or cancel, not 'perhaps'"),
    ({"assistant_id": 7}, "assistant_id may be some text, not 7"),
    ({"config": []}, "config"),
    ({"config": {"configurable": []}}, "configurable may be a JSON object, not []"),
    ({"config": {"configurable": {"checkpoint_id": 7}}}, "checkpoint_id may be some text, not 7"),
    ({"config": {"tags": 7}}, "tags may be a list of texts"),
    ({"config": {"recursion_limit": "9"}}, "recursion_limit may be a whole number from 1 on"),
    ({"checkpoint": {"checkpoint_map": {"a": 7}}}, "checkpoint_map may be an object of ids"),
    ({"command": {"resume": 1}}, "input may be nothing where there is a command"),
    ({"input": None, "command": {"goto": [{"input": 1}]}}, "goto may be a node, or an object"),
    ({"interrupt_before": [1]}, "interrupt_before"),
    ({"durability": "never"}, "durability"),
    ({"metadata": {"x": "y" * 2**17}}, "metadata may be at most 65,536 bytes"),
]


async def test_what_is_not_done_is_refused(client: httpx.AsyncClient, thread: str) -> None:
    """With 422 and a word on what is, and nothing has begun."""
    for stated, named in REFUSED:
        answer = await client.post(f"/threads/{thread}/runs/stream", json={**asked(), **stated})
        assert 422 == answer.status_code
        assert named in answer.json()["detail"]
    assert 404 == (await client.get(f"/threads/{thread}")).status_code
    garbage = await client.post(f"/threads/{thread}/runs/stream", content=b"[")
    assert (400, "invalid_body") == (garbage.status_code, garbage.json()["code"])


async def test_what_is_asked_of_the_past_may_be_garbage(
    client: httpx.AsyncClient, thread: str
) -> None:
    """It is refused by name, as all else is."""
    await ran(client, thread, asked())
    bodies: list[dict[str, Any]] = [
        {"before": 7},
        {"before": {"configurable": {"checkpoint_id": []}}},
        {"metadata": "x"},
        {"checkpoint": {"checkpoint_ns": 7}},
        {"limit": 0},
    ]
    for body in bodies:
        answer = await client.post(f"/threads/{thread}/history", json=body)
        assert 422 == answer.status_code, body


async def test_a_state_that_cannot_be_read_is_no_end_of_a_thread(hub: Hub, thread: str) -> None:
    """What a client has put in may be something that the graph can make no state of, and what a
    graph stores something that JSON cannot hold. Both are said; the next run mends it."""

    class Held(State, total=False):
        held: Any

    async def hold(state: Held) -> Held:
        return {"held": {None: 1}} if state.get("asks") else {"held": 1}

    graph = StateGraph(Held).add_node("hold", hold).add_edge(START, "hold")
    compiled = graph.compile(checkpointer=InMemorySaver())
    transport = httpx.ASGITransport(Starlette(routes=langgraph_routes(hub, compiled)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for broken in ({**asked(), "input": {"messages": 7}}, asked(asks=True)):
            assert "error" == (await ran(client, thread, broken))[-1].event
            answer = await client.get(f"/threads/{thread}/state")
            assert (409, "unreadable_state") == (answer.status_code, answer.json()["code"])
            past = await client.post(f"/threads/{thread}/history", json={})
            assert past.status_code in (200, 409)
            assert "end" == (await ran(client, thread, asked("updates")))[-1].event
            assert 200 == (await client.get(f"/threads/{thread}/state")).status_code


async def test_a_thread_is_its_owners(
    make_hub: MakeHub, open_client: Open, graph: Graph, thread: str
) -> None:
    """What others may not see looks as if it was not there: runs, states, and what a checkpointer
    still has when the hub has forgotten all. Nobody says whose it is but the application."""

    def user(request: Request) -> str | None:
        return request.headers.get("x-user")

    hub = make_hub(HubConfig(lease=unhurried(0.3)))
    routes = langgraph_routes(hub, graph.compiled, user=user)
    client = await open_client(Starlette(routes=routes))
    body = asked(
        metadata={"streamhub_owner": "eve"},
        config={"configurable": {"streamhub_owner": "eve", "thread_id": "other"}},
    )
    ann, eve = {"x-user": "ann"}, {"x-user": "eve"}
    answer = await client.post(f"/threads/{thread}/runs/stream", json=body, headers=ann)
    assert 200 == answer.status_code
    run = answer.headers["content-location"]

    async def statuses(headers: dict[str, str]) -> list[int]:
        gets = [run, f"{run}/stream", f"/threads/{thread}", f"/threads/{thread}/state"]
        posts: dict[str, Any] = {
            f"/threads/{thread}/history": {},
            f"/threads/{thread}/runs": asked(),
            f"{run}/cancel": {},
        }
        found = [await client.get(one, headers=headers) for one in gets]
        found += [await client.post(one, json=it, headers=headers) for one, it in posts.items()]
        return [one.status_code for one in found]

    assert [200] * 6 + [202] == await statuses(ann)
    for other in (eve, {}):
        assert [404] * 7 == await statuses(other)
    # Nor does the time tell: whoever has a cursor is let wait for what is missing.
    loop = asyncio.get_running_loop()
    began = loop.time()
    again = await client.get(f"{run}/stream", headers={**eve, "last-event-id": "1-1"})
    assert 404 == again.status_code
    assert loop.time() - began >= hub.config.lease
    async for info in hub.sessions():
        stream = await hub.get(info.session_id)
        assert stream is not None
        await within(stream.wait())
        await hub.remove(info.session_id)
    assert [404] * 7 == await statuses(eve)
    assert 200 == (await client.get(f"/threads/{thread}/state", headers=ann)).status_code


async def test_a_command_goes_to_a_node(client: httpx.AsyncClient, thread: str) -> None:
    """By name, or with an input of its own; what it updates is there."""
    await ran(client, thread, asked())
    there = {"node": "act", "input": {"messages": []}}
    command = {"goto": [there, "act"], "update": {"messages": [["user", "more"]]}}
    body = {"assistant_id": "agent", "command": command, "stream_mode": ["updates", "values"]}

    told = await ran(client, thread, body)

    assert ["act", "act"] == [name for one in told if one.event == "updates" for name in data(one)]
    said = [data(one)["messages"][-1]["content"] for one in told if one.event == "values"]
    assert "more" == said[-1]


async def test_who_asks_is_asked_of(hub: Hub, open_client: Open, graph: Graph, thread: str) -> None:
    """With the session of the thread and what is to be done; a refusal looks as if nothing was
    there. A run of another thread is not reached by a name that its own could have."""
    heard: list[tuple[str, str]] = []

    def authorize(request: Request, session_id: str, action: str) -> bool:
        heard.append((session_id, action))
        return "x-no" not in request.headers

    routes = langgraph_routes(hub, graph.compiled, authorize=authorize)
    client = await open_client(Starlette(routes=routes))
    answer = await client.post(f"/threads/{thread}:sub/runs/stream", json=asked())
    run = answer.headers["content-location"]
    run_id = run.rpartition("/")[2]
    paths = [run, f"{run}/stream", f"/threads/{thread}:sub/runs", f"/threads/{thread}:sub/state"]
    for path in paths:
        assert 200 == (await client.get(path)).status_code
        assert 404 == (await client.get(path, headers={"x-no": "1"})).status_code
    assert 202 == (await client.post(f"{run}/cancel")).status_code

    assert {(f"thread:{thread}:sub", action) for action in ("produce", "read", "cancel")} == {
        *heard
    }
    assert 404 == (await client.get(f"/threads/{thread}/runs/sub:{run_id}")).status_code


async def test_pages_of_other_sites_are_kept_out(client: httpx.AsyncClient, thread: str) -> None:
    """Where a browser adds what authorises by itself."""
    headers = {"cookie": "a=b", "origin": "https://elsewhere.example"}
    for path in ("/threads", f"/threads/{thread}/runs/stream", f"/threads/{thread}/runs/x/cancel"):
        assert 403 == (await client.post(path, json=asked(), headers=headers)).status_code


async def test_several_graphs_below_a_path(hub: Hub, open_client: Open, thread: str) -> None:
    """An assistant's id picks one; a thread's states are those of the graph that ran in it. The
    addresses that clients get go behind the one that they have."""

    async def say(state: State) -> State:
        return {"messages": [AIMessage("another")]}

    other = StateGraph(State).add_node(say).add_edge(START, "say")
    graphs = {"one": Graph().compiled, "other": other.compile(checkpointer=InMemorySaver())}
    routes = langgraph_routes(hub, graphs, path="/agents")
    client = await open_client(Starlette(routes=routes))
    path = f"/agents/threads/{thread}"
    answer = await client.post(f"{path}/runs/stream", json=asked(assistant_id="other"))
    unknown = await client.post(f"{path}/runs/stream", json=asked(assistant_id="third"))
    state = (await client.get(f"{path}/state")).json()

    assert answer.headers["location"].startswith(f"/threads/{thread}/runs/")
    assert 200 == (await client.get(f"/agents{answer.headers['location']}")).status_code
    assert "another" == state["values"]["messages"][-1]["content"]
    assert (404, "assistant_id must be one of one, other, not 'third'") == (
        unknown.status_code,
        unknown.json()["detail"],
    )


async def test_threads_are_named_and_known(client: httpx.AsyncClient, thread: str) -> None:
    """As the clients make them; one that is there already is told, if that matters."""
    made = (await client.post("/threads", json={})).json()
    named = (await client.post("/threads", json={"thread_id": thread, "metadata": {"a": 1}})).json()
    await ran(client, thread, asked())
    again = await client.post("/threads", json={"thread_id": thread})
    anyway = await client.post("/threads", json={"thread_id": thread, "if_exists": "do_nothing"})

    assert made["thread_id"]
    assert (thread, {"a": 1}, "idle") == (named["thread_id"], named["metadata"], named["status"])
    assert (409, 200) == (again.status_code, anyway.status_code)
    assert "one two three" == anyway.json()["values"]["messages"][-1]["content"]


async def test_what_is_no_graph_is_refused(hub: Hub) -> None:
    """At once, and by name."""
    with pytest.raises(TypeError, match=r"graph must be a compiled graph.*not object"):
        langgraph_routes(hub, object())
    with pytest.raises(TypeError, match="not none at all"):
        langgraph_routes(hub, {})
