"""The Responses API over a WebSocket: each ``response.create`` is asked of the gateway as the POST
that it stands for, and its events are the frames that answer it.

Known from OpenAI's guide to its WebSocket mode, and from the Open Responses specification
(2026-04-24). Requests with one ``stream_id``, or without, are answered one after the other, and
those of several at the same time. What nobody stores can be gone on with on the same connection.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from itertools import islice
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import Message
from starlette.websockets import WebSocket

from ...formats.sse import Event, EventParser
from ...http.exchanges import LONGEST_DETAIL, Exchange, ask
from ...http.frames import ASK_AGAIN, FrameSocket, Spawn
from ...wording import short
from ..errors import GatewayError, invalid
from ..limits import Limits
from ..translation import new_response
from .asked import Asked
from .lineage import Fields, Lineage, Turn, items_of
from .objects import TERMINAL

__all__ = ["ResponsesSocket"]

#: How long a connection lasts, in seconds.
_LIFETIME = 3600.0
# How many requests of a lane may wait for the one before, and how many lanes there may be.
_MOST_WAITING = 16
_MOST_LANES = 32
# In characters: what the name of one may have, which is sent with each event.
_LONGEST_NAME = 512

_fields = msgspec.json.Decoder(Fields).decode


class _Response(msgspec.Struct):
    id: str | None = None
    output: msgspec.Raw = msgspec.Raw(b"[]")


class _Last(msgspec.Struct):
    response: _Response


_last = msgspec.json.Decoder(_Last).decode


class ResponsesSocket(FrameSocket):
    """One connection. Closing it does to an answer what leaving its stream does."""

    def __init__(self, websocket: WebSocket, limits: Limits) -> None:
        super().__init__(websocket)
        self._lineage = Lineage(limits.max_body_bytes)
        self._most_bytes = limits.max_body_bytes
        #: What is under way, and waits, by the ``stream_id``: frames, as they came.
        self._lanes: dict[str | None, deque[str | bytes]] = {}
        self._under_way: set[_Answer] = set()
        self._until = time.monotonic() + _LIFETIME

    async def say(self, lane: str | None, event: str) -> None:
        """Send an event, which is an object."""
        if lane is not None:
            event = f'{event[:-1]},"stream_id":{msgspec.json.encode(lane).decode()}}}'
        await self.send(event)

    async def fail(
        self,
        lane: str | None,
        status: int,
        body: bytes,
        *,
        number: int | None = None,
        retry_after: str | None = None,
    ) -> None:
        """Send the error that an answer of this status and body is."""
        try:
            error = msgspec.json.decode(body)["error"]
        except (msgspec.DecodeError, UnicodeError, KeyError, TypeError):
            error = {"code": None, "message": body.decode(errors="replace"), "type": "server_error"}
        if retry_after is not None and isinstance(error, dict):
            error["headers"] = {"retry-after": retry_after}
        told = {"type": "error", "status": status, "error": error}
        if number is not None:
            told["sequence_number"] = number
        await self.say(lane, msgspec.json.encode(told).decode())

    async def _refuse_as(self, lane: str | None, error: GatewayError) -> None:
        await self.fail(lane, error.status, error.body)

    def _begin(self, spawn: Spawn) -> None:
        return None

    def _is_busy(self) -> bool:
        return bool(self._lanes)

    def _left(self) -> None:
        for lane in self._lanes.values():
            lane.clear()
        for answer in self._under_way:
            # One that is stored goes on while the server drains: its client did not leave.
            if not (self._restarts and answer.turn.is_kept):
                answer.gone.set()

    def _longest(self) -> None:
        # The limit of a body is the same here, and told as there.
        return None

    def _patience(self) -> float:
        # With an answer under way, once more after a second.
        return max(1.0, self._until - time.monotonic())

    async def _tire(self) -> None:
        message = f"A connection lasts {_LIFETIME / 60:.0f} minutes: open another one."
        await self._refuse_as(None, invalid(message, code="websocket_connection_limit_reached"))
        await self.close(1000, "open another one")

    async def _refuse(self, detail: str) -> None:
        await self._refuse_as(None, invalid(detail, code="invalid_json"))

    async def _take(self, value: Any, data: str | bytes, spawn: Spawn) -> None:
        if time.monotonic() >= self._until:
            if not self._is_busy():
                await self._tire()
            return
        given = value if isinstance(value, dict) else {}
        lane = given.get("stream_id")
        named = lane if isinstance(lane, str) and len(lane) <= _LONGEST_NAME else None
        try:
            _check(value)
            waiting = self._lanes.get(named)
            if waiting is None and len(self._lanes) >= _MOST_LANES:
                raise _too_many(f"at most {_MOST_LANES} responses may be under way at once")
            if waiting is not None:
                self._check_room(waiting, len(data))
        except GatewayError as error:
            await self._refuse_as(named, error)
            return
        if waiting is not None:
            waiting.append(data)
            return
        self._lanes[named] = deque([data])
        spawn(self._serve, named)

    def _check_room(self, waiting: deque[str | bytes], size: int) -> None:
        """:raises GatewayError: there is none for one more to wait."""
        if len(waiting) > _MOST_WAITING:
            raise _too_many(f"at most {_MOST_WAITING} requests may wait for the one before")
        held = sum(len(one) for lane in self._lanes.values() for one in islice(lane, 1, None))
        if held and held + size > self._most_bytes:
            raise _too_many(f"requests that wait may be {self._most_bytes:,} characters together")

    async def _serve(self, lane: str | None) -> None:
        """Answer what is asked on this lane, one after the other."""
        waiting = self._lanes[lane]
        try:
            while waiting:
                await self._answer(lane, _fields(waiting[0]))
                if waiting:
                    waiting.popleft()
        finally:
            del self._lanes[lane]

    async def _answer(self, lane: str | None, fields: Fields) -> None:
        turn: Turn | None = None
        try:
            _check_foreground(fields)
            turn = self._lineage.turn(fields)
            if bytes(fields.get("generate", b"")) == b"false":
                await self._warm_up(lane, turn)
                return
        except GatewayError as error:
            self._lineage.forget(_previous(fields))
            await self._refuse_as(lane, error)
            return
        answer = _Answer(self, lane, turn)
        self._under_way.add(answer)
        try:
            failure = await ask(self._websocket, answer)
        finally:
            self._under_way.remove(answer)
        if answer.over is None or answer.over.kind == "response.failed":
            self._lineage.forget(turn.previous)
        elif answer.over.response.id is not None and not turn.is_kept:
            said = items_of(answer.over.response.output)
            self._lineage.remember(answer.over.response.id, turn, said or [])
        await answer.end(failure)

    async def _warm_up(self, lane: str | None, turn: Turn) -> None:
        """A response without an answer, of which only this connection knows."""
        asked = Asked.of(turn.body)
        begun = new_response(asked.values(), f"resp_{secrets.token_hex(16)}", int(time.time()))
        begun |= {"previous_response_id": turn.previous, "model": asked.model or "", "store": False}
        nothing = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        details = {
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        over = {"status": "completed", "completed_at": int(time.time())}
        over |= {"usage": {**nothing, **details}}
        self._lineage.remember(begun["id"], turn, [])
        for number, (kind, told) in enumerate(
            (("response.created", begun), ("response.completed", {**begun, **over}))
        ):
            event = {"type": kind, "response": told, "sequence_number": number}
            await self.say(lane, msgspec.json.encode(event).decode())


class _Over(msgspec.Struct, frozen=True):
    kind: str
    response: _Response


class _Answer(Exchange):
    """What is posted for a ``response.create``, and the answer as frames."""

    def __init__(self, socket: ResponsesSocket, lane: str | None, turn: Turn) -> None:
        super().__init__("POST", "", turn.body)
        self._socket = socket
        self._lane = lane
        self.turn = turn
        self._parser = EventParser()
        self._text = bytearray()
        self._retry_after: str | None = None
        #: An ``error`` of the stream. What follows it tells the same once more.
        self._error: Event | None = None
        #: The last event.
        self.over: _Over | None = None

    async def send(self, message: Message) -> None:
        await super().send(message)
        if message["type"] == "http.response.start":
            self._retry_after = Headers(raw=message["headers"]).get("retry-after")
        if message["type"] != "http.response.body":
            return
        body = message.get("body", b"")
        if self.status != 200:
            self._text += body[: LONGEST_DETAIL - len(self._text)]
            return
        for event in self._parser.feed(body):
            await self._take(event)

    async def end(self, failure: Exception | None) -> None:
        """Say how it ended, where no event has."""
        if self.over is not None:
            return
        if self._error is not None:
            said = msgspec.json.decode(self._error.data)
            error = {name: said.get(name) for name in ("code", "message", "param")}
            body = msgspec.json.encode({"error": {**error, "type": "server_error"}})
            await self._socket.fail(self._lane, 500, body, number=said.get("sequence_number"))
        elif failure is not None:
            broken = GatewayError(500, "gateway_error", "the gateway failed")
            await self._socket.fail(self._lane, broken.status, broken.body)
        elif self.status not in (0, 200):
            body = bytes(self._text)
            await self._socket.fail(self._lane, self.status, body, retry_after=self._retry_after)
        elif not self.gone.is_set():
            # The server shuts down: that is no end of the answer.
            await self._socket.close(ASK_AGAIN, "ask again")

    async def _take(self, event: Event) -> None:
        if event.event == "error":
            self._error = event
            return
        if event.event in TERMINAL:
            self.over = _Over(event.event, _last(event.data).response)
        await self._socket.say(self._lane, self._told(event.data))

    def _told(self, data: str) -> str:
        """An event that names what the client went on with: the gateway has told all of that."""
        if not self.turn.is_told or '"previous_response_id"' not in data:
            return data
        fields = _fields(data)
        if not bytes(fields.get("response", b"")).startswith(b"{"):
            return data
        response = _fields(fields["response"])
        response["previous_response_id"] = msgspec.Raw(msgspec.json.encode(self.turn.previous))
        fields["response"] = msgspec.Raw(msgspec.json.encode(response))
        return msgspec.json.encode(fields).decode()


def _check(value: Any) -> None:
    """:raises GatewayError: it is no request for a response."""
    if not isinstance(value, dict):
        raise invalid(f"a frame must be a JSON object, not {short(value)}", code="invalid_json")
    if value.get("type") != "response.create":
        message = f"type must be 'response.create', not {short(value.get('type'))}"
        raise invalid(message, param="type")
    if not isinstance(value.get("stream_id"), str | None):
        raise invalid(
            f"stream_id must be a string, not {short(value['stream_id'])}", param="stream_id"
        )
    if (size := len(value.get("stream_id") or "")) > _LONGEST_NAME:
        message = f"stream_id must be at most {_LONGEST_NAME} characters long, not {size:,}"
        raise invalid(message, param="stream_id")


def _check_foreground(fields: Fields) -> None:
    """:raises GatewayError: the response would be one in the background."""
    if bytes(fields.get("background", b"null")) not in (b"null", b"false"):
        message = "a response in the background is asked for over HTTP"
        raise invalid(message, param="background", code="unsupported_value")


def _too_many(message: str) -> GatewayError:
    return GatewayError(429, "too_many_requests", message)


def _previous(fields: Fields) -> str | None:
    value = msgspec.json.decode(fields.get("previous_response_id", b"null"))
    return value if isinstance(value, str) else None
