"""Who may do what: what is refused cannot be told from what does not exist."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from httpx import AsyncClient
from starlette.requests import Request

from streamhub import Hub, HubConfig
from streamhub.http import Authorize, create_app, owned_by
from streamhub.testing.waiting import unhurried, until, within

from ..conftest import MakeHub
from .conftest import Open
from .serving import events, follow, path_of, stored

ROUTES = [
    ("GET", "", "read"),
    ("GET", "/stream", "read"),
    ("GET", "/stream?format=ndjson", "read"),
    ("GET", "/stream?after=malformed", "read"),
    ("GET", "/stream?after=1-1", "read"),
    ("GET", "/stream?format=xml", "read"),
    ("GET", "/stream?batch=maybe", "read"),
    ("GET", "/stream?wait=0.05", "read"),
    ("GET", "/stream?wait=x", None),
    ("HEAD", "", "read"),
    ("HEAD", "/stream", "read"),
    ("POST", "/cancel", "cancel"),
    ("POST", "/cancel?wait=0.05&reason=x", "cancel"),
    ("POST", "/cancel?wait=x", None),
    ("DELETE", "", "remove"),
]


def user(request: Request) -> str | None:
    return request.headers.get("x-user")


async def slow_user(request: Request) -> str | None:
    await asyncio.sleep(0)
    return user(request)


def seen(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """All that a client is told."""
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    return answer.status_code, answer.content, headers


@pytest.mark.parametrize(("method", "more", "action"), ROUTES)
async def test_refused_is_answered_like_unknown(
    make_hub: MakeHub, open_client: Open, method: str, more: str, action: str | None
) -> None:
    """Byte for byte, on every route, whatever else is wrong with the request."""
    asked = []

    def refuse(request: Request, session_id: str, action: str) -> bool:
        asked.append((session_id, action))
        return False

    # A cursor beyond the end is answered after a lease.
    hub = make_hub(HubConfig(lease=unhurried(0.5)))
    await hub.register("there")
    client = await open_client(create_app(hub, authorize=refuse))
    refused = await client.request(method, path_of("there", more))
    unknown = await client.request(method, path_of("nowhere", more))
    open_one = await open_client(create_app(hub))
    not_there = await open_one.request(method, path_of("nowhere", more))

    assert seen(unknown) == seen(refused) == seen(not_there)
    assert (404 if action else 400) == refused.status_code
    assert {action} - {None} == {action for _, action in asked}
    stream = await hub.get("there")
    assert stream is not None
    assert not (await stream.info()).cancelling


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
@pytest.mark.parametrize("route", ["sessions", "streams"])
async def test_a_refusal_takes_as_long_as_what_is_missing(
    make_hub: MakeHub, open_client: Open, route: str
) -> None:
    """Whoever holds a cursor is let wait for a session that is not there, for a lease; one that
    belongs to somebody else must not be told by an answer that comes at once."""
    hub = make_hub(HubConfig(lease=unhurried(0.3)))
    stream, _ = await hub.register("there", owner="ann")
    await stream.publish("x")
    await stream.flush()
    anyone = await open_client(create_app(hub))
    offset = (await anyone.get("/streams/there")).headers["stream-next-offset"]
    paths = {
        "sessions": path_of("there", "/stream?after=1-1"),
        "streams": f"/streams/there?offset={offset}",
    }
    bob = await open_client(create_app(hub, authorize=owned_by(hub, lambda request: "bob")))
    loop = asyncio.get_running_loop()
    began = loop.time()

    assert 404 == (await bob.get(paths[route])).status_code
    assert loop.time() - began >= hub.config.lease


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_what_is_gone_is_waited_for_once(make_hub: MakeHub, open_client: Open) -> None:
    """A check that looks the session up would wait for it as well: it is not asked of what is
    not there after the wait."""
    asked = []

    def refuse(request: Request, session_id: str, action: str) -> bool:
        asked.append(session_id)
        return False

    hub = make_hub(HubConfig(lease=unhurried(0.3)))
    client = await open_client(create_app(hub, authorize=refuse))
    answer = await client.get(path_of("gone", "/stream?after=1-1"))

    assert (404, []) == (answer.status_code, asked)


@pytest.mark.parametrize("answer", ["plain", "async"])
async def test_what_is_allowed(hub: Hub, open_client: Open, answer: str) -> None:
    """Asked for each action with the id as it is, by a plain or an async function."""
    asked = []

    def plain(request: Request, session_id: str, action: str) -> bool:
        asked.append((session_id, action))
        return True

    async def slow(request: Request, session_id: str, action: str) -> bool:
        return plain(request, session_id, action)

    await hub.register("a/b ü")
    check: Authorize = slow if answer == "async" else plain
    client = await open_client(create_app(hub, authorize=check))
    statuses = [
        (await client.get(path_of("a/b ü", ""))).status_code,
        (await client.head(path_of("a/b ü"))).status_code,
        (await client.post(path_of("a/b ü", "/cancel"))).status_code,
        (await client.delete(path_of("a/b ü", ""))).status_code,
    ]

    assert [200, 200, 204] == [statuses[0], statuses[1], statuses[3]]
    assert statuses[2] in (200, 202)
    assert [("a/b ü", action) for action in ("read", "read", "cancel", "remove")] == asked


@pytest.fixture(params=[user, slow_user])
async def owned(request: pytest.FixtureRequest, hub: Hub, open_client: Open) -> AsyncClient:
    """A client of an application in which everybody has their own sessions."""
    return await open_client(create_app(hub, authorize=owned_by(hub, request.param)))


@pytest.mark.parametrize(
    ("owner", "asking", "allowed"),
    [
        ("alice", "alice", True),
        ("alice", "bob", False),
        ("alice", "Alice", False),
        ("alice", "alice2", False),
        ("alice", None, False),
        (None, "alice", False),
        (None, None, False),
        (None, "None", False),
    ],
)
@pytest.mark.parametrize(
    ("method", "more", "action"), [ROUTES[0], ROUTES[1], ROUTES[-4], ROUTES[-1]]
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_everybody_has_their_own(
    hub: Hub,
    owned: AsyncClient,
    owner: str | None,
    asking: str | None,
    allowed: bool,
    method: str,
    more: str,
    action: str,
) -> None:
    """A session without an owner is nobody's; who is not known has none."""
    stream, _ = await hub.register("s", owner=owner)
    await stream.close()
    headers = {} if asking is None else {"x-user": asking}
    answer = await owned.request(method, path_of("s", more), headers=headers)
    unknown = await owned.request(method, path_of("unknown", more), headers=headers)

    if allowed:
        assert answer.status_code in (200, 204)
    else:
        assert seen(unknown) == seen(answer)
    assert 404 == unknown.status_code


async def test_a_list_shows_ones_own(hub: Hub, owned: AsyncClient) -> None:
    """Also where another's are asked for; the limit counts what is shown."""
    for n in range(6):
        await hub.register(f"s{n}", owner=["alice", "bob", None][n % 3])

    async def listed(name: str | None, **query: str) -> list[str]:
        headers = {} if name is None else {"x-user": name}
        answer = await owned.get("/sessions", params=query, headers=headers)
        return sorted(one["session_id"] for one in answer.json()["sessions"])

    assert ["s0", "s3"] == await listed("alice")
    assert ["s0", "s3"] == await listed("alice", limit="2")
    assert [] == await listed("alice", owner="bob")
    assert ["s1", "s4"] == await listed("bob", owner="bob")
    assert [] == await listed("carol")
    assert [] == await listed(None)


async def test_a_list_asks_authorize_of_each(hub: Hub, open_client: Open) -> None:
    """Whatever the check is."""

    async def only_s1(request: Request, session_id: str, action: str) -> bool:
        return (session_id, action) == ("s1", "read")

    for n in range(3):
        await hub.register(f"s{n}")
    client = await open_client(create_app(hub, authorize=only_s1))

    assert ["s1"] == [
        one["session_id"] for one in (await client.get("/sessions")).json()["sessions"]
    ]


@pytest.mark.parametrize("begun_by", ["alice", "bob"])
async def test_a_session_that_is_begun_while_it_is_waited_for(
    hub: Hub, owned: AsyncClient, session_id: str, begun_by: str
) -> None:
    """It is its owner's; for who else waits there is none."""
    wait = "30" if begun_by == "alice" else "1"
    early = asyncio.create_task(
        owned.get(path_of(session_id), params={"wait": wait}, headers={"x-user": "alice"})
    )

    async def waiting() -> bool:
        return hub.statistics().sessions_followed == 1

    await until(waiting)
    stream, _ = await hub.register(session_id, owner=begun_by)
    await stored(stream, "secret")
    await stream.close()
    answer = await within(early)

    if begun_by == "alice":
        assert ["secret"] == [event.data for event in events(answer.content)[:-1]]
    else:
        unknown = await owned.get(path_of("unknown"), headers={"x-user": "alice"})
        assert seen(unknown) == seen(answer)


async def test_waiting_takes_as_long_for_what_is_anothers(hub: Hub, open_client: Open) -> None:
    """As for what is not there: the answer to both comes when the wait is over."""
    await hub.register("there", owner="bob")
    asked = asyncio.Event()

    def noting(request: Request) -> str:
        asked.set()
        return "alice"

    client = await open_client(create_app(hub, authorize=owned_by(hub, noting)))
    waiting = asyncio.create_task(client.get(path_of("there"), params={"wait": 30}))
    await within(asked.wait())
    # Many round trips later it is still waiting.
    for _ in range(20):
        await client.get("/health")
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize("new_owner", ["alice", "bob"])
@pytest.mark.parametrize("since", ["meanwhile", "before"])
async def test_a_session_that_begins_anew_as_somebody_elses(
    hub: Hub, owned: AsyncClient, session_id: str, new_owner: str, since: str
) -> None:
    """Not a word of it reaches who followed the old one."""
    stream, _ = await hub.register(session_id, owner="alice")
    (one,) = await stored(stream, "old")
    path, headers = path_of(session_id), {"x-user": "alice"}
    if since == "before":
        await stream.close()
        await begin(hub, session_id, new_owner)
        headers = {**headers, "last-event-id": one}
        answer = await owned.get(path, params={"wait": 0}, headers=headers)
        raw = answer.content
    else:
        async with follow(owned, path, headers=headers) as response:
            await response.next()
            await hub.remove(session_id)
            await begin(hub, session_id, new_owner)
            await response.until_closed()
            raw = response.raw

    assert (new_owner == "bob") or since == "meanwhile" or b"event: reset" in raw
    assert new_owner == "alice" or b"secret" not in raw


async def begin(hub: Hub, session_id: str, owner: str) -> None:
    stream, created = await hub.register(session_id, owner=owner)
    assert created
    await stored(stream, "secret")
    await stream.close()


async def test_a_check_that_fails_is_no_permission(
    hub: Hub, open_client: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """The application's own error stays its own: 500, and nothing of the session."""
    caplog.set_level("CRITICAL", "uvicorn.error")

    async def check(*_: object) -> bool:
        raise LookupError("no database")

    stream, _ = await hub.register("there")
    await stored(stream, "secret")
    client = await open_client(create_app(hub, authorize=check))
    answer = await client.get(path_of("there"))

    assert 500 == answer.status_code
    assert b"secret" not in answer.content
