"""Tries the demo out as a browser would, over HTTP, and says what happens."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from .model_server import text_for

__all__ = ["check"]

Say = Callable[[str], None]

_QUESTION = "How does streamhub keep this answer alive?"
_UNWANTED = "Tell me about lighthouses."
# Longer than a lease, than a model that thinks, and than anything else that is waited for.
_SECONDS = 150.0
# After how many chunks what is done.
_CUT_AT, _CRASH_AT, _STOP_AT = 40, 90, 30


class _Wrong(Exception):
    """Something is not as it should be."""


def check(url: str, about: dict[str, Any], say: Say) -> bool:
    """Whether the demo at ``url`` does what it promises; every step is told to ``say``."""
    site = _Site(url)
    where = "in memory, one process" if about["redis"] is None else "Redis, processes of their own"
    say(f"Checking the demo at {url} ({where})")
    try:
        _survives(site, about, say)
        _stops(site, say)
    except (_Wrong, OSError, http.client.HTTPException) as error:
        say(f"FAILED: {error}")
        return False
    say("All is well: nothing lost, nothing doubled.")
    return True


def _survives(site: _Site, about: dict[str, Any], say: Say) -> None:
    """One answer, two readers, a cut connection and a crash."""
    session = site.ask(_QUESTION)
    say(f"  asked      {session}")
    steady, shaken = _Reader(site, session, "steady"), _Reader(site, session, "shaken")
    following = threading.Thread(target=steady.follow_to_the_end, daemon=True)
    following.start()

    shaken.follow(until=_CUT_AT)
    cut = site.post("/tabs/shaken/cut")["cut"]
    shaken.follow()
    _expect(cut == 1, f"one connection was cut, not {cut}")
    _expect(shaken.end is None, "a cut connection looks like one, not like the end")
    at = shaken.last
    say(f"  cut        one reader's connection, after chunk {at}")
    site.wait(session, lambda turn: turn["chunks"] >= _CRASH_AT)

    dead = site.post("/producer/crash")
    say(f"  crashed    {dead['name']} ({dead['how']}), in the middle of the answer")
    shaken.follow_to_the_end()
    resumed = site.turn(session, "shaken")["resumed"]
    following.join(_SECONDS)
    turn = site.turn(session)
    _expect(turn["status"] == "finished", f"the answer is {turn['status']}: {turn['error']}")
    producers = turn["producers"]
    _expect(len(producers) == 2, f"two producers wrote it, not {len(producers)}")
    _expect(producers[0]["name"] == dead["name"], "whoever crashed had not begun it")
    say(f"  continued  by {producers[1]['name']}, after chunk {producers[1]['after']}")
    then = "" if resumed["after"] == at else f", after the crash with …-{resumed['after']}"
    say(f"  resumed    the cut reader with Last-Event-ID …-{at}{then}")

    text = site.get(f"/api/sessions/{session}/stream?format=text").decode()
    wanted = text_for(_QUESTION) if about["model"]["built_in"] else text
    for name, got in [("stored", text), ("steady", steady.text), ("shaken", shaken.text)]:
        digest = hashlib.sha256(got.encode()).hexdigest()[:16]
        same = "equal" if got == wanted else "DIFFERENT"
        say(f"  {name:<9}  {len(got):>5} characters  sha256 {digest}  {same}")
        _expect(got == wanted, f"{name} holds another text")
    for reader in (steady, shaken):
        count = turn["chunks"]
        _expect(reader.offsets == [*range(1, count + 1)], f"{reader.name}: cursors with holes")
    say(f"  cursors    1 to {turn['chunks']} at both readers, each once and in order")


def _stops(site: _Site, say: Say) -> None:
    """Another answer, stopped."""
    session = site.ask(_UNWANTED)
    reader = _Reader(site, session, "stopping")
    reader.follow(until=_STOP_AT)
    status = site.post(f"/answers/{session}/stop")["status"]
    reader.follow()
    _expect(status == "cancelled", f"a stopped answer is cancelled, not {status}")
    _expect(reader.end == "cancelled", f"its reader is told that it is cancelled: {reader.end}")
    say(f"  stopped    {session} after chunk {reader.last}: cancelled, and its reader knows")


def _expect(fact: bool, otherwise: str) -> None:
    if not fact:
        raise _Wrong(otherwise)


class _Site:
    """The demo's web server, as a client sees it."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self.chat = f"check-{uuid4().hex[:12]}"

    def ask(self, question: str) -> str:
        session: str = self.post(f"/chats/{self.chat}/ask", {"question": question})["session"]
        return session

    def post(self, path: str, body: object = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._send("POST", path, json.dumps(body)).read())
        return answer

    def get(self, path: str) -> bytes:
        return self._send("GET", path).read()

    def stream(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        return self._send("GET", path, headers=headers)

    def turn(self, session: str, tab: str = "check") -> dict[str, Any]:
        turns = json.loads(self.get(f"/chats/{self.chat}?tab={tab}"))["turns"]
        return next(turn for turn in turns if turn["session"] == session)

    def wait(self, session: str, reached: Callable[[dict[str, Any]], bool]) -> None:
        pause = threading.Event()
        while not reached(turn := self.turn(session)):
            early = f"the answer is {turn['status']} after {turn['chunks']} chunks already"
            _expect(turn["status"] in ("active", "lost"), early)
            pause.wait(0.02)

    def _send(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._address, timeout=_SECONDS)
        sent = {"content-type": "application/json", **(headers or {})}
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        if response.status >= 400:
            raise _Wrong(f"{method} {path}: {response.status} {response.read().decode()}")
        return response


@dataclass
class _Reader:
    """A tab: it follows an answer and keeps what it has when its connection breaks."""

    site: _Site
    session: str
    name: str
    text: str = ""
    offsets: list[int] = field(default_factory=list)
    cursor: str | None = None
    end: str | None = None
    _events: Iterator[dict[str, str]] | None = None

    @property
    def last(self) -> int:
        return self.offsets[-1] if self.offsets else 0

    def follow_to_the_end(self) -> None:
        """As an EventSource does: connect again until there is an end."""
        while self.end in (None, "lost"):
            self._events = None
            self.follow()

    def follow(self, until: int | None = None) -> None:
        """Read on until the connection ends, or until there are so many chunks."""
        if self._events is None:
            headers = {} if self.cursor is None else {"last-event-id": self.cursor}
            path = f"/answers/{self.session}/stream?tab={self.name}"
            self._events = _events(self.site.stream(path, headers))
        for event in self._events:
            if event["event"] in ("end", "error"):
                self.end = json.loads(event["data"])["status"]
                continue
            self.cursor, self.text = event["id"], self.text + event["data"]
            self.offsets.append(int(event["id"].partition("-")[2]))
            if until is not None and self.last >= until:
                return


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, str]]:
    """The events of an SSE response, until it ends or breaks off."""
    fields: dict[str, list[str]] = {}
    with response:
        while True:
            try:
                line = response.readline().decode().rstrip("\n")
            except (http.client.IncompleteRead, ConnectionError):
                return
            if line:
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
            elif "data" in fields:
                event = {name: "\n".join(values) for name, values in fields.items()}
                yield {"event": "message", "id": "", **event}
                fields = {}
            elif response.isclosed():
                return
            else:
                fields = {}
