"""What the inspector's page asks its server for: who may, what comes, and what is done."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from streamhub import Hub, HubConfig, LostSession, Status
from streamhub.formats.sse import Event
from streamhub.http import inspector_routes
from streamhub.http.inspector import PUBLIC
from streamhub.http.server import guarded
from streamhub.testing.waiting import within

from ..conftest import MakeHub
from .conftest import Open
from .serving import Followed, follow

in_memory = pytest.mark.parametrize("new_hub", ["memory"], indirect=True)


def application(hub: Hub, **options: Any) -> Starlette:
    return Starlette(routes=inspector_routes(hub, **{"authorize": None, **options}))


async def told(response: Followed) -> dict[str, Any]:
    event: Event = await within(response.next())
    found: dict[str, Any] = json.loads(event.data)
    return found


def inside(path: str, **query: str) -> str:
    return f"/inspector/{path}?{urlencode(query)}"


@in_memory
async def test_the_page_is_for_everybody_and_takes_nothing_from_elsewhere(
    hub: Hub, open_client: Open
) -> None:
    """Every file of it is served, under a policy without exceptions, and need not be sent twice."""
    client = await open_client(guarded(hub, token="secret"))
    page = files("streamhub.http.inspector") / "page"
    stored = {"/", *(f"/inspector/{one.name}" for one in page.iterdir())} - {
        "/inspector/index.html"
    }

    assert PUBLIC == stored
    for path in sorted(PUBLIC):
        answer = await client.get(path)
        assert (path, 200) == (path, answer.status_code)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy
        again = await client.get(path, headers={"if-none-match": answer.headers["etag"]})
        assert (304, b"") == (again.status_code, again.content)
        for word in ("http://", "https://", "//", "style=", "onclick", "<script>"):
            if path == "/":
                own = answer.text.replace("http://www.w3.org/2000/svg", "")
                assert word not in own


@in_memory
@pytest.mark.parametrize("path", ["board", "session?id=s", "text?id=s", "metadata?id=s", "server"])
async def test_what_is_in_sessions_wants_the_token(hub: Hub, open_client: Open, path: str) -> None:
    """The page is open, what it asks for is not; the same goes for what it does."""
    client = await open_client(guarded(hub, token="secret"))
    assert 401 == (await client.get(f"/inspector/{path}")).status_code
    for action in ("stop", "hand-over", "remove"):
        assert 401 == (await client.post(f"/inspector/{action}?id=s")).status_code


@in_memory
async def test_a_page_of_the_board_and_then_only_what_changes(
    make_hub: MakeHub, open_client: Open
) -> None:
    """Rows that have changed alone are sent again, and the order where it is another."""
    # Nothing changes by itself: the first renewals are far away.
    hub = make_hub(HubConfig(lease=600.0))
    for name in ("a", "b", "c"):
        await hub.register(name, owner="ann", metadata={"model": f"model-{name}"})
    client = await open_client(application(hub))
    snapshot = (await client.get("/inspector/board?sort=session&order=up&limit=2&page=2")).json()
    assert (["c"], 3, {"active": 3}, {"ann": 3}) == (
        snapshot["order"],
        snapshot["found"],
        snapshot["counts"],
        snapshot["owners"],
    )
    assert ("model-c", "ann") == (snapshot["rows"][0]["model"], snapshot["rows"][0]["owner"])
    async with follow(client, inside("board", sort="session", order="up", limit="2")) as response:
        page = await told(response)
        # Once a rate is measured, that is one more change.
        while [row["rate"] for row in page["rows"]] != [0.0, 0.0]:
            page = await told(response)
        await hub.remove("c")
        page = await told(response)
        assert ([], 2, False) == (page["rows"], page["found"], "order" in page)
        await hub.remove("a")
        page = await told(response)
        assert ([], ["b"]) == (page["rows"], page["order"])


@in_memory
@pytest.mark.parametrize(
    "query", ["sort=x", "status=active,x", "page=0", "limit=501", "limit=x", "page=-1"]
)
async def test_a_query_that_no_board_answers(hub: Hub, open_client: Open, query: str) -> None:
    """A client's mistake is said to be one, with what is allowed."""
    client = await open_client(application(hub))
    answer = await client.get(f"/inspector/board?{query}")

    assert 400 == answer.status_code
    assert "must be" in answer.json()["detail"]


async def test_one_session_as_it_goes(hub: Hub, open_client: Open) -> None:
    """Its row, facts and history; its text by the face of its own; one that is not there is said
    to be so."""
    stream, _ = await hub.register("a/b?c", owner="ann", metadata={"x": 1})
    await stream.publish("hello")
    await within(stream.flush())
    client = await open_client(application(hub))
    async with follow(client, inside("session", id="a/b?c")) as response:
        first = await told(response)
        assert ("active", 1, stream.stream_id) == (
            first["row"]["status"],
            first["row"]["chunks"],
            first["facts"]["stream_id"],
        )
        assert ["claimed"] == [one["kind"] for one in first["timeline"]]
        assert (first["memory"] is None) == repr(hub).startswith("<Hub memory")
        await stream.fail("no more credit")
        while (last := await told(response))["row"]["status"] == "active":
            pass
        assert [("claimed", None), ("failed", "no more credit")] == [
            (one["kind"], one["reason"]) for one in last["timeline"]
        ]
    async with follow(client, inside("session", id="none")) as response:
        assert [None, None, []] == [(await told(response))[name] for name in ("row",)] + [None, []]
    async with follow(client, inside("text", id="a/b?c")) as response:
        assert ["hello", "error"] == [
            event.data if event.event == "message" else event.event
            for event in [await within(response.next()) for _ in range(2)]
        ]
    assert {"text": '{\n  "x": 1\n}', "size": 12} == (
        await client.get(inside("metadata", id="a/b?c"))
    ).json()


@in_memory
async def test_what_no_session_is_called_is_refused(hub: Hub, open_client: Open) -> None:
    """Before anything is sent: an answer that breaks off would be asked for again."""
    client = await open_client(application(hub))
    for path in ("session", "text", "metadata"):
        for session_id in ("", "a\0"):
            answer = await client.get(inside(path, id=session_id))
            assert (path, 400) == (path, answer.status_code)


@in_memory
async def test_large_metadata_is_cut(hub: Hub, open_client: Open) -> None:
    """A page gets no more of it than it can show, and hears how much there is."""
    await hub.register("s", metadata="x" * 500_000)
    client = await open_client(application(hub))
    answer = (await client.get("/inspector/metadata?id=s")).json()

    assert (64 * 1024, 500_002) == (len(answer["text"]), answer["size"])


async def test_what_is_done_is_done_to_the_stream_that_was_seen(
    hub: Hub, open_client: Open
) -> None:
    """Stopped and removed; a later stream of the session is left alone, and so is what is gone."""
    client = await open_client(application(hub))
    old, _ = await hub.register("s")
    await old.close()
    await hub.register("s", metadata={})
    now = await hub.get("s")
    assert now is not None
    for action in ("stop", "hand-over", "remove"):
        answer = await client.post(inside(action, id="s", stream=old.stream_id))
        assert (409, "stream_replaced") == (answer.status_code, answer.json()["code"])
    assert Status.ACTIVE is (await now.info()).status
    answer = await client.post(inside("hand-over", id="s", stream=now.stream_id))
    assert (409, "not_supervised") == (answer.status_code, answer.json()["code"])
    answer = await client.post(inside("stop", id="s", stream=now.stream_id))
    assert {"status": "cancelled"} == answer.json()
    assert "stopped in the inspector" == (await now.info()).error
    answer = await client.post(inside("remove", id="s", stream=now.stream_id))
    assert {"status": "removed"} == answer.json()
    for action in ("stop", "hand-over", "remove"):
        assert 404 == (await client.post(inside(action, id="s", stream="x"))).status_code


@in_memory
async def test_a_session_is_handed_over(make_hub: MakeHub, open_client: Open) -> None:
    """What hangs is gone on with by a supervisor."""
    hub = make_hub(HubConfig(lease=300.0))

    async def resume(lost: LostSession) -> list[str]:
        return [f"after {lost.text}"]

    async with hub.supervise(resume):
        while True:
            stream, _ = await hub.register("s")
            if (await stream.info()).feeds:
                break
            await stream.close()
        await stream.publish("it hangs")
        await within(stream.flush())
        client = await open_client(application(hub))
        answer = await client.post(inside("hand-over", id="s", stream=stream.stream_id))
        assert 200 == answer.status_code
        reader = await hub.get("s")
        assert reader is not None
        subscription = reader.subscribe()
        texts = [chunk.data for chunk in [await within(anext(subscription)) for _ in range(2)]]
        assert ["it hangs", "after it hangs"] == texts


@in_memory
async def test_who_is_no_operator_sees_and_does_nothing(hub: Hub, open_client: Open) -> None:
    """Each thing is asked for by its name; what is refused has no effect."""
    stream, _ = await hub.register("s")
    asked: list[str] = []

    async def operator(request: Request, action: str) -> bool:
        asked.append(action)
        return request.headers.get("x-user") == "root"

    routes = inspector_routes(hub, authorize=operator)
    client = await open_client(Starlette(routes=[Mount("/ops", routes=routes)]))
    for path in ("board", "session?id=s", "text?id=s", "metadata?id=s", "server"):
        assert 403 == (await client.get(f"/ops/inspector/{path}")).status_code
    for path in ("stop", "hand-over", "remove"):
        answer = await client.post(f"/ops/inspector/{path}?id=s&stream={stream.stream_id}")
        assert (403, "forbidden") == (answer.status_code, answer.json()["code"])
    assert ["read"] * 5 + ["cancel", "hand_over", "remove"] == asked
    assert Status.ACTIVE is (await stream.info()).status
    root = {"x-user": "root"}
    assert 200 == (await client.get("/ops/inspector/board", headers=root)).status_code
    assert 200 == (await client.get("/ops/")).status_code


@in_memory
async def test_pages_of_other_sites_do_nothing(hub: Hub, open_client: Open) -> None:
    """A browser sends the cookies of an application with whatever another page makes it send."""
    stream, _ = await hub.register("s")
    client = await open_client(application(hub))
    headers = {"cookie": "session=1", "origin": "https://evil.example"}
    for action in ("stop", "hand-over", "remove"):
        url = inside(action, id="s", stream=stream.stream_id)
        assert 403 == (await client.post(url, headers=headers)).status_code
    assert Status.ACTIVE is (await stream.info()).status


@in_memory
async def test_what_the_server_is(hub: Hub, open_client: Open) -> None:
    """What was found is asked for once in a while, for all who look, what the process holds each
    time."""
    asked, looking = [], []
    all_look = asyncio.Event()

    async def operator(request: Request, action: str) -> bool:
        looking.append(1)
        if len(looking) == 3:
            all_look.set()
        return True

    async def findings() -> list[dict[str, str]]:
        asked.append(1)
        await within(all_look.wait())
        return [{"level": "ok", "subject": "reach", "found": "it answers"}]

    client = await open_client(application(hub, findings=findings, authorize=operator))
    first = await asyncio.gather(*(client.get("/inspector/server") for _ in range(3)))
    for got in (*first, await client.get("/inspector/server")):
        answer = got.json()
        assert "it answers" == answer["findings"][0]["found"]
        assert 0 == answer["statistics"]["producers"]
    assert [1] == asked
    await hub.register("s")
    assert 1 == (await client.get("/inspector/server")).json()["statistics"]["producers"]


@in_memory
async def test_news_end_with_the_hub(make_hub: MakeHub, open_client: Open) -> None:
    """Who looks is let go, and asks again elsewhere; a client that goes leaves no task."""
    hub = make_hub()
    await hub.register("s")
    client = await open_client(application(hub))
    headers = {"accept": "text/event-stream"}
    async with (
        follow(client, inside("board"), headers=headers) as board,
        follow(client, inside("session", id="s")) as session,
    ):
        await told(board)
        await told(session)
        await hub.aclose()
        for response in (board, session):
            with pytest.raises(EOFError):
                while True:
                    await within(response.next())
