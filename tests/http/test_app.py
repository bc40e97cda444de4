"""``create_app``: look, list, cancel, remove; ids of every kind; errors as problems."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from starlette.applications import Starlette
from starlette.routing import Mount

from streamhub import Hub, LiveStream, Status, StoreUnavailable
from streamhub.http import create_app
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.waiting import patience, until, within

from .conftest import Open
from .serving import events, follow, nothing_is_held, path_of, raw_request, stored

ODD_IDS = [
    "a/b",
    "/a//b/",
    "a/stream",
    "a/cancel",
    "100%",
    "%2F",
    "%252F",
    "a+b c",
    "a?b#c&d=e;f",
    "..a",
    "a..",
    "...",
    "Grüße/😀",
    "\u2028\ufeff",
    "{x}",
    '"\\"',
    "é",
    "x" * 512,
    "ü" * 256,
]


@pytest.mark.parametrize("session_id", ODD_IDS)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
@pytest.mark.parametrize("implementation", ["h11", "httptools"])
async def test_every_legal_id_is_one_segment(
    hub: Hub, open_client: Open, session_id: str, implementation: str
) -> None:
    """Percent-encoded, whatever it holds: it is found, followed, cancelled and removed, and no
    other is."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    await stream.close()
    client = await open_client(create_app(hub), http=implementation)
    path = f"/sessions/{quote(session_id, safe='')}"
    info = await client.get(path)
    followed = await client.get(f"{path}/stream")
    cancelled = await client.post(f"{path}/cancel")
    removed = await client.delete(path)

    assert session_id == info.json()["session_id"]
    assert ["a"] == [event.data for event in events(followed.content)[:-1]]
    assert {"session_id": session_id, "status": "finished"} == cancelled.json()
    assert 204 == removed.status_code
    assert await hub.get(session_id) is None


@pytest.mark.parametrize("prefix", ["/hub", "/hub/deep", "/a%20b", "/%C3%BC"])
@pytest.mark.parametrize("root_path", ["", "/root", "/sessions"])
@pytest.mark.parametrize("framework", [FastAPI, Starlette])
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_it_can_be_mounted_anywhere(
    hub: Hub, open_client: Open, prefix: str, root_path: str, framework: Any
) -> None:
    """Below a prefix, and behind a proxy that takes a root away; ids keep their slashes."""
    session_id = "a/b c"
    await hub.register(session_id)
    mounted = {"/hub": "/hub", "/hub/deep": "/hub/deep", "/a%20b": "/a b", "/%C3%BC": "/ü"}[prefix]
    app = framework(routes=[Mount(mounted, create_app(hub))])
    client = await open_client(app, root_path=root_path)
    answer = await client.get(f"{prefix}/sessions/a%2Fb%20c")
    missing = await client.get(f"{prefix}/sessions/a/b")
    description = await client.get(f"{prefix}/openapi.json")

    assert (200, session_id) == (answer.status_code, answer.json().get("session_id"))
    assert 404 == missing.status_code
    assert quote(root_path) + prefix == description.json()["servers"][0]["url"]


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/sessions/%FF", 400, "invalid_session_id"),
        ("/sessions/a%00", 400, "invalid_session_id"),
        ("/sessions/%C2%85", 400, "invalid_session_id"),
        ("/sessions/%ED%A0%80", 400, "invalid_session_id"),
        ("/sessions/" + "x" * 513, 400, "invalid_session_id"),
        ("/sessions/" + "x" * 30_000, 400, "invalid_session_id"),
        ("/sessions/%", 404, "session_not_found"),
        ("/sessions/%zz", 404, "session_not_found"),
        ("/sessions/", 404, "not_found"),
        ("/sessions//stream", 404, "not_found"),
        ("/sessions/a/", 404, "not_found"),
        ("/sessions/a/stream/", 404, "not_found"),
        ("/sessions/a/b/stream", 404, "not_found"),
        ("/health/", 404, "not_found"),
        ("/", 404, "not_found"),
        ("//", 404, "not_found"),
    ],
)
@pytest.mark.parametrize("more", ["", "/stream"])
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_bad_paths_are_problems(
    hub: Hub, open_client: Open, target: str, status: int, code: str, more: str
) -> None:
    """As they were sent: nothing on the way has made them harmless."""
    if more and code != "invalid_session_id":
        more = ""
    client = await open_client(create_app(hub))
    url = str(client.base_url).rstrip("/")
    reader, writer = await raw_request(url, target + more, "connection: close")
    head, _, body = (await within(reader.read())).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    problem = json.loads(body)

    assert str(status).encode() == head.split(b" ")[1]
    assert (status, code, "about:blank") == (problem["status"], problem["code"], problem["type"])
    assert {"type", "title", "status", "detail", "code"} == set(problem)
    assert b"application/problem+json" in head
    assert len(body) < 1000


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/sessions", {"GET", "HEAD"}),
        ("POST", "/sessions/a", {"GET", "HEAD", "DELETE"}),
        ("PUT", "/sessions/a", {"GET", "HEAD", "DELETE"}),
        ("OPTIONS", "/sessions/a", {"GET", "HEAD", "DELETE"}),
        ("DELETE", "/sessions/a/stream", {"GET", "HEAD"}),
        ("GET", "/sessions/a/cancel", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("PATCH", "/openapi.json", {"GET", "HEAD"}),
    ],
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_wrong_methods_are_problems(
    client: AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    """405, with all methods that there are."""
    answer = await client.request(method, path)

    assert (405, "method_not_allowed") == (answer.status_code, answer.json()["code"])
    assert allowed == set(answer.headers["allow"].split(", "))


async def test_how_a_session_stands(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """All that ``info()`` has, with a cursor to go on from, and the metadata as it was set."""
    stream, _ = await hub.register(
        session_id, owner="alice", metadata={"model": "ü", "n": [1, None]}
    )
    (one,) = await stored(stream, "abc")
    found = (await client.get(path_of(session_id, ""))).json()

    assert {
        "session_id": session_id,
        "status": "active",
        "generation": stream.generation,
        "cursor": one,
        "owner": "alice",
        "traceparent": None,
        "metadata": {"model": "ü", "n": [1, None]},
        "bytes": 3,
        "cancelling": False,
        "error": None,
        "ended": None,
        "resumes": 0,
    }.items() <= found.items()
    assert "host" not in found
    assert found["created"] <= found["updated"]
    assert int(one.partition("-")[0]) == found["epoch"]
    assert 0 < found["lease"] <= 15


async def test_a_list_is_narrowed_down(hub: Hub, client: AsyncClient) -> None:
    """By owner, by status, by length."""
    for n, owner in enumerate(["alice", "alice", "bob", None]):
        stream, _ = await hub.register(f"s{n}", owner=owner)
        if n % 2:
            await stream.close()

    async def listed(**query: Any) -> list[str]:
        answer = await client.get("/sessions", params=query)
        assert 200 == answer.status_code
        return sorted(one["session_id"] for one in answer.json()["sessions"])

    assert ["s0", "s1", "s2", "s3"] == await listed()
    assert ["s0", "s1"] == await listed(owner="alice")
    assert ["s1"] == await listed(owner="alice", status="finished")
    assert ["s0", "s2"] == await listed(status="active")
    assert [] == await listed(owner="carol")
    assert 3 == len(await listed(limit=3))


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=1.5", "limit=", "limit=٣", "status=x"],
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_a_list_that_makes_no_sense(client: AsyncClient, query: str) -> None:
    """Names the parameter and what it may be."""
    answer = await client.get(f"/sessions?{query}")

    assert (400, "invalid_parameter") == (answer.status_code, answer.json()["code"])
    assert answer.json()["detail"].startswith(query.partition("=")[0])


async def test_cancelling(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """202 while the producer goes on, 200 with ``?wait=`` once it has stopped; the reason is kept;
    again it changes nothing."""

    async def body(stream: LiveStream) -> None:
        await stream.publish("a")
        async for _ in stream.subscribe():
            pass

    await hub.run(session_id, body)
    first = await client.post(path_of(session_id, "/cancel"), params={"reason": "zu teuer"})
    waited = await client.post(path_of(session_id, "/cancel"), params={"wait": 20})
    again = await client.post(path_of(session_id, "/cancel"), params={"reason": "other"})
    unknown = await client.post(path_of("unknown", "/cancel"))
    info = (await client.get(path_of(session_id, ""))).json()

    assert first.status_code in (200, 202)
    assert {202: "active", 200: "cancelled"}[first.status_code] == first.json()["status"]
    assert (200, "cancelled") == (waited.status_code, waited.json()["status"])
    assert (200, "cancelled") == (again.status_code, again.json()["status"])
    assert "zu teuer" == info["error"]
    assert 404 == unknown.status_code


async def test_a_producer_that_does_not_stop_in_time(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """202 after the wait: the cancel stands."""
    may_stop = asyncio.Event()

    async def stubborn(stream: LiveStream) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_stop.wait()

    stream = await hub.run(session_id, stubborn)
    answer = await client.post(path_of(session_id, "/cancel"), params={"wait": 0.05})
    may_stop.set()

    assert (202, "active") == (answer.status_code, answer.json()["status"])
    assert Status.CANCELLED is await stream.wait(patience())


async def test_removing(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """204, then 404; of a live one, too."""
    await hub.register(session_id)
    path = path_of(session_id, "")

    assert [204, 404, 404] == [
        (await client.delete(path)).status_code,
        (await client.delete(path)).status_code,
        (await client.get(path)).status_code,
    ]


async def test_a_client_may_be_there_before_the_worker(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """``?wait=`` answers as soon as the session is there; 404 if it does not come; at once
    without."""
    path = path_of(session_id)
    early = asyncio.create_task(client.get(path, params={"wait": 30}))

    async def waiting() -> bool:
        return hub.statistics().sessions_followed == 1

    await until(waiting)
    stream, _ = await hub.register(session_id)
    await stream.publish("a")
    await stream.close()
    answer = await within(early)
    missing = await client.get(path_of("unknown"), params={"wait": 0.05})

    assert ["a"] == [event.data for event in events(answer.content)[:-1]]
    assert (404, "session_not_found") == (missing.status_code, missing.json()["code"])
    await nothing_is_held(hub)


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_the_longest_wait_is_the_applications(hub: Hub, open_client: Open) -> None:
    """Of both routes that wait, and of their description."""
    client = await open_client(create_app(hub, max_wait=2))
    description = (await client.get("/openapi.json")).json()
    answers = [
        await client.get(path_of("x"), params={"wait": 3}),
        await client.post(path_of("x", "/cancel"), params={"wait": 3}),
    ]

    assert [(400, True)] * 2 == [
        (one.status_code, "from 0 to 2," in one.json()["detail"]) for one in answers
    ]
    assert 2 == description["components"]["parameters"]["wait"]["schema"]["maximum"]


async def test_health(hub: Hub, client: AsyncClient) -> None:
    """200 while the store answers; nobody's cache keeps it."""
    answer = await client.get("/health")

    assert (200, {"status": "ok"}) == (answer.status_code, answer.json())
    assert "no-store" == answer.headers["cache-control"]


async def test_other_sites_get_no_permission(hub: Hub, client: AsyncClient) -> None:
    """CORS is the application's choice, and off."""
    answer = await client.get("/health", headers={"origin": "https://example.org"})

    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_pages_of_other_sites_change_nothing(
    hub: Hub, open_client: Open, session_id: str
) -> None:
    """With what a browser sends by itself: they neither stop, nor send, nor remove; but those that
    the application names."""
    client = await open_client(create_app(hub, origins=["https://friend.example"]))
    stream, _ = await hub.register(session_id)
    path = path_of(session_id).removesuffix("/stream")
    evil = {"cookie": "session=alice", "origin": "https://evil.example"}

    refused = [
        await client.post(f"{path}/cancel", headers=evil),
        await client.post(f"{path}/inbox", headers=evil, json={"data": "x"}),
        await client.delete(path, headers=evil),
    ]
    assert [(403, "forbidden")] * 3 == [(one.status_code, one.json()["code"]) for one in refused]
    assert not (await stream.info()).cancelling
    friend = {**evil, "origin": "https://friend.example"}
    assert 204 == (await client.delete(path, headers=friend)).status_code


async def test_following_across_a_connection_that_is_kept(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """One connection serves any number of requests, one after the other."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    await stream.close()
    for _ in range(5):
        async with follow(client, path_of(session_id)) as response:
            assert 2 == len(await response.rest())


class _Leaves(WrappedStore):
    """Answers so many looks for metadata, and is away from then on."""

    def __init__(self, looks: int) -> None:
        super().__init__(MemoryStore())
        self._left = looks

    async def metadata_sizes(self, session_ids: Sequence[str]) -> Sequence[int]:
        return [1024 * 1024] * len(session_ids)

    async def look(self, *args: Any, metadata: bool = False) -> Any:
        if metadata:
            self._left -= 1
            if self._left < 0:
                raise StoreUnavailable("store", "away")
        return await super().look(*args, metadata=metadata)


@pytest.mark.parametrize("looks", [0, 3])
async def test_a_list_that_cannot_be_read_to_its_end_is_none(open_client: Open, looks: int) -> None:
    """It is a problem before the first session, and no JSON after it: never a shorter list."""
    async with Hub(_Leaves(looks)) as hub:
        for n in range(5):
            await hub.register(f"chat:{n}")
        client = await open_client(create_app(hub))
        answer = await client.get("/sessions")

    if looks:
        assert 200 == answer.status_code
        assert looks == answer.text.count('"session_id"')
        with pytest.raises(json.JSONDecodeError):
            answer.json()
    else:
        assert 503 == answer.status_code
        assert "unavailable" == answer.json()["code"]
