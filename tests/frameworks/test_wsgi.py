"""Sessions through threads: what a WSGI server does with a response, at any moment."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from streamhub.formats.sse import EventParser
from streamhub.stores.memory import MemoryStore
from streamhub.sync import Hub
from streamhub.testing.faults import Fails
from streamhub.testing.waiting import patience
from streamhub.wsgi import BrokenOff, CancelResponse, StreamResponse


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


class Asked:
    """A response as a server has it: it iterates, and closes at last."""

    def __init__(
        self,
        app: Any,
        query: str = "",
        method: str = "GET",
        on: socket.socket | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.status = ""
        self.headers: dict[str, str] = {}
        given: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": "/", "QUERY_STRING": query}
        given |= environ or {}
        if on is not None:
            given["gunicorn.socket"] = on
        self.body = app(given, self._start)
        self.pieces = iter(self.body)

    def _start(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = status, dict(headers)

    def read(self) -> bytes:
        with self:
            return b"".join(self.pieces)

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self.body, "close"):
            self.body.close()


def test_who_may_not_read_is_told_what_is_told_of_nothing(hub: Hub) -> None:
    """Byte for byte, whatever else is wrong with the request; nor may he stop it."""
    hub.register("1")
    asked: list[str] = []

    def refuse() -> bool:
        asked.append("")
        return False

    apps = [
        (StreamResponse(hub, "1", allow=refuse), "after=x"),
        (StreamResponse(hub, "2"), "after=x"),
        (CancelResponse(hub, "1", allow=refuse), ""),
        (CancelResponse(hub, "2"), ""),
    ]
    answers = [Asked(app, query) for app, query in apps]

    assert {"404 Not Found"} == {answer.status for answer in answers}
    assert 1 == len({answer.read() for answer in answers})
    assert 2 == len(asked)
    stream = hub.get("1")
    assert stream is not None
    assert not stream.info().cancelling
    assert 0 == hub.statistics().sessions_followed


def test_who_may_read_is_asked_again_for_the_next_stream(hub: Hub) -> None:
    """It may be somebody else's: it looks as if the session was gone."""
    stream, _ = hub.register("1")
    stream.publish("a")
    allowed = [True, False]
    with Asked(StreamResponse(hub, "1", allow=lambda: allowed.pop(0))) as answer:
        assert b"data: a" in next(answer.pieces)
        hub.remove("1")
        again, _ = hub.register("1")
        again.publish("secret")
        again.close()
        rest = b"".join(answer.pieces)

    assert b"secret" not in rest
    assert ["error"] == [event.event for event in EventParser().feed(rest)]


def test_a_stop_says_what_has_become_of_the_session(hub: Hub) -> None:
    """202 while its producer has not ended, and 200 once it has."""
    hub.register("1", on_cancel=threading.Event().wait)
    first = Asked(CancelResponse(hub, "1"))
    stream, _ = hub.register("2")
    stream.close()
    second = Asked(CancelResponse(hub, "2", wait=1))

    assert ("202 Accepted", "200 OK") == (first.status, second.status)
    assert [{"session_id": "1", "status": "active"}, {"session_id": "2", "status": "finished"}] == [
        json.loads(answer.read()) for answer in (first, second)
    ]


def test_pages_of_other_sites_stop_nothing(hub: Hub) -> None:
    """Where a browser adds cookies; but those that are named."""
    hub.register("1")
    sent = {"HTTP_COOKIE": "a=b", "HTTP_ORIGIN": "https://example.org", "HTTP_HOST": "here"}
    refused = Asked(CancelResponse(hub, "1"), environ=sent)
    allowed = Asked(CancelResponse(hub, "1", origins=["https://example.org"]), environ=sent)

    assert ("403 Forbidden", "forbidden") == (refused.status, json.loads(refused.read())["code"])
    assert "202 Accepted" == allowed.status
    with pytest.raises(ValueError, match="an origin is written as"):
        CancelResponse(hub, "1", origins=["example.org"])


def test_a_store_that_is_away_and_a_hub_that_is_closed(hub: Hub) -> None:
    """503, but for an EventSource, which is to come back: it is told of an error, or of nothing."""
    store = Fails(MemoryStore())
    with Hub(store) as other:
        other.register("1")
        store.failing = True
        away = [Asked(StreamResponse(other, "1"), f"format={name}") for name in ("ndjson", "sse")]
        stopped = Asked(CancelResponse(other, "1"))
        store.failing = False
    closed = [Asked(StreamResponse(other, "1"), f"format={name}") for name in ("ndjson", "sse")]

    expected = ["503 Service Unavailable", "200 OK"]
    assert [expected, expected] == [[one.status for one in each] for each in (away, closed)]
    assert b"event: error" in away[1].read()
    assert b"" == closed[1].read()
    assert "503 Service Unavailable" == stopped.status
    assert "1" == away[0].headers["retry-after"]


@pytest.mark.parametrize("name", ["sse", "text"])
def test_a_hub_closes_while_a_thread_waits(hub: Hub, name: str) -> None:
    """The response ends as what was interrupted: an event stream just so, text by breaking off."""
    stream, _ = hub.register("1")
    stream.publish("a")
    with Asked(StreamResponse(hub, "1"), f"format={name}") as answer:
        assert b"a" in next(answer.pieces)
        with ThreadPoolExecutor(1) as threads:
            rest = threads.submit(list, answer.pieces)
            hub.close()
            if name == "sse":
                assert b"" == b"".join(rest.result(patience()))
            else:
                with pytest.raises(BrokenOff):
                    rest.result(patience())


def test_an_idle_response_lives(hub: Hub) -> None:
    """It begins at once, and says after so many seconds of silence that it is there."""
    hub.register("1")
    with Asked(StreamResponse(hub, "1", heartbeat=0.05)) as answer:
        assert [b":\n"] * 3 == [next(answer.pieces) for _ in range(3)]
    assert [] == list(answer.pieces)
    assert 0 == hub.statistics().sessions_followed


def test_a_client_that_leaves_an_idle_response_is_noticed(hub: Hub) -> None:
    """Long before a heartbeat is due, also while it waits for a session that is not there; and
    whatever it has sent before it left."""
    hub.register("1")
    with ThreadPoolExecutor(2) as threads:
        for session_id in ("1", "unknown"):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                app = StreamResponse(hub, session_id, wait=3600, heartbeat=3600)
                reading = threads.submit(lambda app, ours: Asked(app, on=ours).read(), app, ours)
                theirs.sendall(b"GET")
                theirs.close()
                assert reading.result(patience()) in (b"", b":\n")
    assert 0 == hub.statistics().sessions_followed


def test_readers_that_leave_at_any_moment(hub: Hub) -> None:
    """Before they have begun, in the middle and at the end, in many threads: nothing stays of them,
    and those who stay miss nothing."""
    stream, _ = hub.register("1")
    before = threading.active_count()
    chunks = [f"<{number}>" for number in range(200)]

    def visit(pieces: int) -> None:
        with Asked(StreamResponse(hub, "1"), "format=text") as answer:
            for _ in range(pieces):
                next(answer.pieces, None)

    with ThreadPoolExecutor(32) as threads:
        staying = [
            threads.submit(Asked(StreamResponse(hub, "1"), "format=text").read) for _ in range(2)
        ]
        visits = [threads.submit(visit, number % 4) for number in range(30)]
        for chunk in chunks:
            stream.publish(chunk)
        stream.close()
        for leaving in visits:
            leaving.result(patience())
        assert ["".join(chunks).encode()] * 2 == [one.result(patience()) for one in staying]

    assert 0 == hub.statistics().sessions_followed
    assert before == threading.active_count()


def test_another_thread_closes_what_one_waits_for(hub: Hub) -> None:
    """It hears of no end: there was none."""
    stream, _ = hub.register("1")
    stream.publish("a")
    answer = Asked(StreamResponse(hub, "1"), "format=ndjson")
    next(answer.pieces)
    with ThreadPoolExecutor(1) as threads:
        rest = threads.submit(list, answer.pieces)
        answer.body.close()
        assert [] == rest.result(patience())
    assert 0 == hub.statistics().sessions_followed


def test_a_head_request_follows_nothing(hub: Hub) -> None:
    """It has the headers of the response alone."""
    hub.register("1")
    answer = Asked(StreamResponse(hub, "1"), method="HEAD")

    assert ("200 OK", "text/event-stream; charset=utf-8") == (
        answer.status,
        answer.headers["content-type"],
    )
    assert b"" == answer.read()
    assert 0 == hub.statistics().sessions_followed


def test_what_no_response_takes(hub: Hub) -> None:
    """Said where it is written."""
    with pytest.raises(ValueError, match="heartbeat must be a positive number of seconds, not 0"):
        StreamResponse(hub, "1", heartbeat=0)
    with pytest.raises(ValueError, match="face must be one of sse, ndjson, text"):
        StreamResponse(hub, "1", face="xml")  # type: ignore[arg-type]
    assert "400 Bad Request" == Asked(StreamResponse(hub, "")).status
