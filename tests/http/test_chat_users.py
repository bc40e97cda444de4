"""Whose chats are whose: other users, and pages of other sites."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from streamhub import (
    Hub,
    SessionCorrupted,
    SessionInfo,
    Status,
    StoreUnavailable,
)
from streamhub.http import chat_routes, create_app, owned_by
from streamhub.stores.base import Store
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.waiting import patience, within

from .chatting import Model, begun, question
from .conftest import Open

ALICE, BOB = {"x-user": "alice"}, {"x-user": "bob"}


@pytest.fixture
def model() -> Model:
    return Model()


def user_of(request: Request) -> str | None:
    return request.headers.get("x-user")


async def test_the_same_words_do_not_lead_into_anothers_chat(
    hub: Hub, model: Model, open_client: Open
) -> None:
    """Who posts what somebody else has posted in a chat of theirs gets neither that answer nor
    one of his own there: while it is written, and after that."""
    client = await open_client(Starlette(routes=chat_routes(hub, model, user=user_of)))
    assert 200 == await begun(client, question("one"), headers=ALICE)
    during = [await begun(client, question(text), headers=BOB) for text in ("one", "two")]
    stream = await hub.get("chat:c")
    assert stream is not None
    model.may_end.set()
    assert Status.FINISHED is await stream.wait(patience())
    after = [await begun(client, question(text), headers=BOB) for text in ("one", "two")]
    info = await stream.info()

    assert [404] * 4 == during + after
    assert 1 == len(model.asked)
    assert ("alice", Status.FINISHED, "one") == (info.owner, info.status, await stream.text())


@pytest.mark.parametrize("ends", [True, False])
async def test_a_chat_that_begins_between_the_check_and_the_claim_is_left_alone(
    hub: Hub, model: Model, open_client: Open, ends: bool
) -> None:
    """The check found nothing there; the claim finds what somebody else has begun since."""
    times_asked = 0

    async def user(request: Request) -> str:
        nonlocal times_asked
        times_asked += 1
        if times_asked == 2:
            stream, _ = await hub.register("chat:c", owner="alice")
            await stream.publish("hers")
            await (stream.close() if ends else stream.flush())
        return "bob"

    model.may_end.set()
    client = await open_client(Starlette(routes=chat_routes(hub, model, user=user)))
    answer = await client.post("/api/chat", json=question("one"))
    stream = await hub.get("chat:c")
    assert stream is not None

    assert (404, "session_not_found") == (answer.status_code, answer.json()["code"])
    assert ("alice", "hers") == ((await stream.info()).owner, await stream.text())
    assert [] == model.asked


class _LooksTooEarly(WrappedStore):
    """``begin`` is done right after the first look at the session, which has found nothing."""

    def __init__(self, store: Store, begin: Callable[[], Awaitable[object]]) -> None:
        super().__init__(store)
        self._begin: Callable[[], Awaitable[object]] | None = begin

    async def look(
        self, session_ids: Sequence[str], *, metadata: bool = False
    ) -> Sequence[SessionInfo | SessionCorrupted | StoreUnavailable | None]:
        found = await super().look(session_ids, metadata=metadata)
        begin, self._begin = self._begin, None
        if begin is not None:
            await begin()
        return found


@pytest.mark.parametrize(
    "path", ["/api/chat/c/stream", "/sessions/chat%3Ac/stream", "/sessions/chat%3Ac"]
)
async def test_a_chat_that_begins_between_the_check_and_the_look_is_not_read(
    model: Model, open_client: Open, path: str
) -> None:
    """What is not there may be looked for by all, and is somebody's a moment later."""
    memory = MemoryStore()
    async with Hub(memory) as hers:

        async def begin() -> None:
            stream, _ = await hers.register("chat:c", owner="alice", metadata={"title": "hers"})
            await stream.publish("hers")
            await stream.close()

        async with Hub(_LooksTooEarly(memory, begin)) as hub:
            routes = chat_routes(hub, model, user=lambda request: "bob", replay_ended=True)
            others = create_app(hub, authorize=owned_by(hub, lambda request: "bob"))
            client = await open_client(Starlette(routes=[*routes, Mount("/", others)]))
            answer = await within(client.get(path))

    assert answer.status_code == (204 if path.startswith("/api") else 404)
    assert "hers" not in answer.text


COOKIE = {"cookie": "session=alice"}
BASIC = {"authorization": "Basic YWxpY2U6eA=="}
EVIL, FRIEND = {"origin": "https://evil.example"}, {"origin": "https://friend.example"}


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        (COOKIE, True),
        ({**COOKIE, "sec-fetch-site": "same-origin", **EVIL}, True),  # a proxy renames the host
        ({**COOKIE, "sec-fetch-site": "none"}, True),
        ({**COOKIE, "sec-fetch-site": "cross-site", **EVIL}, False),
        ({**COOKIE, "sec-fetch-site": "same-site", **EVIL}, False),
        ({**COOKIE, "sec-fetch-site": "cross-site"}, False),
        ({**COOKIE, "sec-fetch-site": "cross-site", **FRIEND}, True),
        ({**COOKIE, **EVIL}, False),
        ({**COOKIE, **FRIEND}, True),
        ({**COOKIE, "origin": "null"}, False),
        ({**COOKIE, "origin": "http://["}, False),
        ({**COOKIE, "origin": "{own}"}, True),
        ({**BASIC, **EVIL}, False),
        # Nothing that a browser has added by itself: it cannot have been lured.
        ({**EVIL, "authorization": "Bearer x"}, True),
        ({**EVIL, "sec-fetch-site": "cross-site"}, True),
    ],
)
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_pages_of_other_sites_neither_ask_nor_stop(
    hub: Hub, model: Model, open_client: Open, headers: dict[str, str], allowed: bool
) -> None:
    """Where a browser sends what authorises by itself; but those that the application names."""
    client = await open_client(
        Starlette(routes=chat_routes(hub, model, origins=["https://friend.example"]))
    )
    own = f"http://{client.base_url.netloc.decode()}"
    headers = {name: value.replace("{own}", own) for name, value in headers.items()}
    # A form can be sent without asking the server first, as JSON cannot.
    kind = {"content-type": "text/plain"}
    asked = await begun(client, question("one"), headers=headers | kind)
    stopped = await client.post("/api/chat/c/stop", headers=headers)

    assert ((200, 204) if allowed else (403, 403)) == (asked, stopped.status_code)
    assert allowed == bool(model.asked)


@pytest.mark.parametrize("origin", ["friend.example", "https://friend.example/", "x", ""])
def test_what_is_no_origin_is_refused(origin: Any) -> None:
    """At once, for it would never be met."""
    with pytest.raises(ValueError, match="an origin is written as"):
        chat_routes(Hub(), lambda body: ["a"], origins=[origin])
    with pytest.raises(TypeError, match="origins must be several"):
        chat_routes(Hub(), lambda body: ["a"], origins=origin)
