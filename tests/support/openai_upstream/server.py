"""The server: its routes, and the bytes of its answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from streamhub.testing.waiting import patience

from .asked import Asked, read_request
from .chat import ChatAnswer
from .faults import (
    BreakInside,
    Broken,
    Fault,
    HangUp,
    Html,
    Redirect,
    Refused,
    SlowHeaders,
    Split,
    Whole,
    WrongLength,
    broken_off,
    split,
)
from .responses import ResponsesAnswer
from .steps import Fails, Finish, Gate, Piece, Raw, Step, pieces

__all__ = ["OpenAIUpstream", "openai_upstream"]


class _Answer(Protocol):
    """What both dialects have."""

    id: str

    def begin(self) -> Iterator[bytes]: ...
    def said(self, piece: Piece) -> Iterator[bytes]: ...
    def raw(self, step: Raw) -> Iterator[bytes]: ...
    def fails(self, step: Fails) -> Iterator[bytes]: ...
    def end(self, reason: str | None) -> Iterator[bytes]: ...


@dataclass
class _Reply:
    status: int
    body: AsyncIterator[bytes] | bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class _Stored:
    """A Response, which goes on without its reader where it is one of the background."""

    answer: ResponsesAnswer
    input: list[Any]
    kept: bool
    events: list[bytes] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def add(self, event: bytes) -> None:
        self.events.append(event)
        self.wake()

    def wake(self) -> None:
        self.more.set()
        self.more = asyncio.Event()

    async def follow(self, after: int = -1) -> AsyncIterator[bytes]:
        at = after + 1
        while True:
            more, over = self.more, self.task is None or self.task.done()
            for event in self.events[at:]:
                at += 1
                yield event
            if over and at >= len(self.events):
                return
            if not over:
                await more.wait()


class OpenAIUpstream:
    """Says to each request that asks a model what ``answers`` has scripted for it, in this order;
    ``says`` if nothing is.

    Runs in a thread of its own, so that a client may block all others. Every request needs an
    ``Authorization: Bearer …``.

    :param keys: those that are let in; without them, any.
    :param dialects: what it speaks at all.
    :param keeps: whether it keeps responses; one that does not ignores ``previous_response_id``.
    """

    def __init__(
        self,
        *,
        keys: Sequence[str] = (),
        dialects: Sequence[str] = ("chat", "responses"),
        says: Sequence[Step] = ("One two three four five.",),
        keeps: bool = True,
    ) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self.says = says
        self._keys = [f"Bearer {key}" for key in keys]
        self._dialects = dialects
        self._keeps = keeps
        self._scripts: list[Sequence[Step]] = []
        self._faults: list[tuple[str, str, Fault]] = []
        self._responses: dict[str, _Stored] = {}
        self._made: Counter[str] = Counter()
        self._arrival = threading.Condition()
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any]] = {}

    @property
    def base_url(self) -> str:
        """For the SDKs."""
        return f"{self.url}/v1"

    @property
    def tokens(self) -> int:
        """How many the model has produced for all requests."""
        return sum(asked.tokens for asked in self.asked)

    def count(self, method: str = "POST", path: str = "/v1/") -> int:
        """The requests that came to paths that begin so."""
        return sum(one.method == method and one.path.startswith(path) for one in self.asked)

    def answers(self, *steps: Step) -> None:
        """To the next request of a model that has no script yet."""
        self._scripts.append(steps)

    def strike(self, fault: Fault, *, method: str = "POST", path: str = "/v1/") -> None:
        """Once, at the next request to a path that begins so."""
        self._faults.append((method, path, fault))

    def wait_asked(self, count: int = 1, *, method: str = "POST", path: str = "/v1/") -> Asked:
        """Wait for the ``count``-th such request. Blocks."""

        def found() -> list[Asked]:
            return [o for o in self.asked if o.method == method and o.path.startswith(path)]

        with self._arrival:
            if not self._arrival.wait_for(lambda: len(found()) >= count, patience()):
                raise TimeoutError(f"{len(found())} requests came, not {count}")
            return found()[count - 1]

    def check_used(self) -> None:
        """
        :raises AssertionError: something was scripted that nobody has asked for.
        """
        assert ([], []) == (self._scripts, self._faults)

    def forget(self) -> None:
        """What was scripted that nobody has asked for."""
        self._scripts.clear()
        self._faults.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[writer] = task
        ahead: bytes | None = b""
        with suppress(ConnectionError, asyncio.IncompleteReadError, Broken):
            while ahead is not None:
                ahead = await self._exchange(reader, writer, ahead)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        del self._open[writer]

    async def stop(self) -> None:
        """Hang up on all that are connected, and end all answers."""
        for stored in self._responses.values():
            if stored.task is not None:
                stored.task.cancel()
        tasks = [one.task for one in self._responses.values() if one.task is not None]
        for writer in self._open:
            writer.transport.abort()
        if waited := [*self._open.values(), *tasks]:
            await asyncio.wait(waited)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ahead: bytes
    ) -> bytes | None:
        """What was read of the next request; None if the client has hung up."""
        asked = await read_request(reader, ahead)
        with self._arrival:
            self.asked.append(asked)
            self._arrival.notify_all()
        fault = self._fault(asked)
        # Who is answered says nothing, so that all that is read is the end, or the next request.
        hearing = asyncio.ensure_future(reader.read(1))
        telling = asyncio.ensure_future(self._tell(asked, fault, writer))
        try:
            await asyncio.wait([hearing, telling], return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                telling.result()
            elif hearing.exception() is not None or hearing.result() == b"":
                telling.cancel()
                await asyncio.wait([telling])
                asked.hung_up.set()
                return None
            else:
                await telling
        except ConnectionError:
            # Found out by writing.
            asked.hung_up.set()
            return None
        except Broken:
            return None
        finally:
            asked.over.set()
            for task in (hearing, telling):
                if not task.done():
                    task.cancel()
            await asyncio.wait([hearing, telling])
            # What has not been looked at here is nobody's to be told of.
            await asyncio.gather(hearing, telling, return_exceptions=True)
        if hearing.cancelled():
            return b""
        return hearing.result() or None

    def _fault(self, asked: Asked) -> Fault | None:
        for number, (method, path, fault) in enumerate(self._faults):
            if asked.method == method and asked.path.startswith(path):
                del self._faults[number]
                return fault
        return None

    async def _tell(self, asked: Asked, fault: Fault | None, writer: asyncio.StreamWriter) -> None:
        match fault:
            case HangUp():
                raise Broken
            case SlowHeaders(gate):
                await gate.pass_through()
        asked.streams = not isinstance(fault, Whole)
        reply = _struck(fault) or self._reply(asked)
        body, length = reply.body, None
        if isinstance(body, bytes):
            length, body = len(body), _once(body)
        match fault:
            case BreakInside(text):
                body = broken_off(body, text)
            case Split(size):
                body = split(body, size)
            case WrongLength(by):
                data = b"".join([one async for one in body])
                length = len(data) + by
                body = _once(data[:length])
        told = {"content-type": "application/json", **reply.headers}
        told["x-request-id"] = f"req_{len(self.asked)}"
        told |= (
            {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        writer.write(f"HTTP/1.1 {reply.status} Said\r\n{lines}\r\n".encode())
        try:
            await writer.drain()
            async for data in body:
                writer.write(data if length is not None else b"%x\r\n%s\r\n" % (len(data), data))
                await writer.drain()
                if isinstance(fault, Split):
                    await asyncio.sleep(0)  # so that the pieces leave one by one
            if length is None:
                writer.write(b"0\r\n\r\n")
            await writer.drain()
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        if isinstance(fault, WrongLength):
            raise Broken

    def _reply(self, asked: Asked) -> _Reply:
        if asked.authorization is None or not asked.authorization.startswith("Bearer "):
            return _error(401, "You didn't provide an API key.", "invalid_request_error")
        if self._keys and asked.authorization not in self._keys:
            told = "Incorrect API key provided."
            return _error(401, told, "invalid_request_error", "invalid_api_key")
        where = asked.path.removeprefix("/v1").strip("/").split("/")
        match asked.method, where:
            case "POST", ["chat", "completions"] if "chat" in self._dialects:
                return self._chat(asked)
            case "POST", ["responses"] if "responses" in self._dialects:
                return self._create(asked)
            case method, ["responses", response_id, *rest] if "responses" in self._dialects:
                stored = self._responses.get(response_id)
                if stored is None or not stored.kept:
                    return _not_found(response_id)
                return self._of_response(asked, stored, method, rest)
            case "GET", ["models"]:
                return _json({"object": "list", "data": [_model("a-model"), _model("team/b")]})
            case "GET", ["models", *name]:
                return _json(_model("/".join(name)))
            case "POST", ["embeddings"]:
                vector = {"object": "embedding", "index": 0, "embedding": [0.5, -1.0, 0.25]}
                usage = {"prompt_tokens": 3, "total_tokens": 3}
                facts = {"object": "list", "model": asked.body["model"], "usage": usage}
                return _json({**facts, "data": [vector]})
            case "POST", ["files"]:
                return _json({"id": "file-1", "object": "file", "bytes": len(asked.raw)})
            case "GET", ["files", file_id, "content"]:
                headers = {"content-type": "application/octet-stream", "x-file": file_id}
                return _Reply(200, _bytes(range(256), times=64), headers)
        told = f"Invalid URL ({asked.method} {asked.path})"
        return _error(404, told, "invalid_request_error", "unknown_url")

    def _steps(self) -> Sequence[Step]:
        return self._scripts.pop(0) if self._scripts else self.says

    def _chat(self, asked: Asked) -> _Reply:
        request = asked.body
        answer = ChatAnswer(self._number("chat"), request, _words(request.get("messages")))
        spoken = _speak(answer, self._steps(), asked)
        if request.get("stream") and asked.streams:
            return _Reply(200, spoken, {"content-type": "text/event-stream"})
        return _Reply(200, _whole(spoken, answer))

    def _create(self, asked: Asked) -> _Reply:
        request = asked.body
        given = request.get("input", [])
        items = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        context: list[Any] = []
        if not self._keeps:
            request = {**request, "previous_response_id": None, "store": False}
        if (earlier := request.get("previous_response_id")) is not None:
            before = self._responses.get(earlier)
            if before is None or not before.kept:
                told = f"Previous response with id '{earlier}' not found."
                kind, code = "invalid_request_error", "previous_response_not_found"
                return _error(400, told, kind, code, "previous_response_id")
            context = [*before.input, *before.answer.response["output"]]
        answer = ResponsesAnswer(self._number("responses"), request, _words([*context, *items]))
        stored = _Stored(answer, [*context, *items], request.get("store") is not False)
        self._responses[answer.id] = stored
        stored.task = asyncio.ensure_future(_keep(stored, self._steps(), asked))
        # What waits for more looks whether this is over.
        stored.task.add_done_callback(lambda _: stored.wake())
        if request.get("stream"):
            events = stored.follow() if answer.background else _with_its_reader(stored)
            return _Reply(200, events, {"content-type": "text/event-stream"})
        if answer.background:
            return _json(answer.whole())
        return _Reply(200, _whole(_with_its_reader(stored), answer))

    def _of_response(self, asked: Asked, stored: _Stored, method: str, rest: list[str]) -> _Reply:
        answer = stored.answer
        match method, rest:
            case "GET", [] if asked.query.get("stream") == "true":
                if not answer.background:
                    told = "This response was not created with background=true."
                    return _error(400, told, "invalid_request_error")
                after = int(asked.query.get("starting_after", -1))
                headers = {"content-type": "text/event-stream"}
                return _Reply(200, stored.follow(after), headers)
            case "GET", []:
                return _json(answer.whole())
            case "DELETE", []:
                del self._responses[answer.id]
                if stored.task is not None:
                    stored.task.cancel()
                return _json({"id": answer.id, "object": "response", "deleted": True})
            case "GET", ["input_items"]:
                items = [{"id": f"msg_{n}", **item} for n, item in enumerate(stored.input)]
                return _json({"object": "list", "data": items, "has_more": False})
            case "POST", ["cancel"]:
                if not answer.background:
                    told = "Cannot cancel a synchronous response."
                    return _error(400, told, "invalid_request_error")
                if answer.is_over and answer.response["status"] != "cancelled":
                    told = "Cannot cancel a completed response."
                    return _error(400, told, "invalid_request_error")
                if stored.task is not None:
                    stored.task.cancel()
                answer.cancelled()
                return _json(answer.whole())
        return _error(405, "Method not allowed", "invalid_request_error")

    def _number(self, dialect: str) -> int:
        self._made[dialect] += 1
        return self._made[dialect]


async def _speak(answer: _Answer, steps: Sequence[Step], asked: Asked) -> AsyncIterator[bytes]:
    """The events of an answer, as the model comes to them."""
    reason: str | None = None
    for event in answer.begin():
        yield event
    for step in steps:
        match step:
            case Gate():
                await step.pass_through()
            case Raw():
                for event in answer.raw(step):
                    yield event
            case Finish():
                reason = step.reason
            case Fails():
                for event in answer.fails(step):
                    yield event
                return
            case _:
                for piece in pieces(step):
                    asked.tokens += 1
                    for event in answer.said(piece):
                        yield event
    for event in answer.end(reason):
        yield event


async def _keep(stored: _Stored, steps: Sequence[Step], asked: Asked) -> None:
    async for event in _speak(stored.answer, steps, asked):
        stored.add(event)


async def _with_its_reader(stored: _Stored) -> AsyncIterator[bytes]:
    """An answer of the foreground: it stops with who reads it."""
    try:
        async for event in stored.follow():
            yield event
    finally:
        if stored.task is not None and not stored.task.done():
            stored.task.cancel()
            stored.answer.cancelled()


async def _whole(
    spoken: AsyncIterator[bytes], answer: ChatAnswer | ResponsesAnswer
) -> AsyncIterator[bytes]:
    """Of who does not stream: all of it, when it is there."""
    async for _ in spoken:
        pass
    yield json.dumps(answer.whole(), ensure_ascii=False).encode()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _bytes(data: range, times: int) -> AsyncIterator[bytes]:
    for _ in range(times):
        yield bytes(data)


def _struck(fault: Fault | None) -> _Reply | None:
    match fault:
        case Refused():
            reply = _error(fault.status, fault.message, fault.type, fault.code)
            reply.headers |= fault.headers
            if fault.retry_after is not None:
                reply.headers["retry-after"] = fault.retry_after
            return reply
        case Html():
            return _Reply(fault.status, fault.page.encode(), {"content-type": "text/html"})
        case Redirect():
            return _Reply(fault.status, b"", {"location": fault.location})
    return None


def _json(data: Any, status: int = 200) -> _Reply:
    return _Reply(status, json.dumps(data, ensure_ascii=False).encode())


def _error(
    status: int, message: str, kind: str, code: str | None = None, param: str | None = None
) -> _Reply:
    error = {"message": message, "type": kind, "param": param, "code": code}
    return _json({"error": error}, status)


def _not_found(response_id: str) -> _Reply:
    return _error(404, f"Response with id '{response_id}' not found.", "invalid_request_error")


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "tests"}


def _words(given: Any) -> int:
    """How many words somebody has sent: what they cost."""
    return len(json.dumps(given).split())


@contextmanager
def openai_upstream(
    *,
    keys: Sequence[str] = (),
    dialects: Sequence[str] = ("chat", "responses"),
    says: Sequence[Step] = ("One two three four five.",),
    keeps: bool = True,
) -> Iterator[OpenAIUpstream]:
    """One that is running, on a free port of this machine.

    :raises AssertionError: something was scripted that nobody has asked for.
    """
    server = OpenAIUpstream(keys=keys, dialects=dialects, says=says, keeps=keeps)
    loop = asyncio.new_event_loop()

    async def start() -> asyncio.Server:
        started = await asyncio.start_server(
            server.serve, "127.0.0.1", 0, limit=2**25, backlog=2048
        )
        server.url = f"http://127.0.0.1:{started.sockets[0].getsockname()[1]}"
        return started

    thread = threading.Thread(target=loop.run_forever, name="openai-upstream", daemon=True)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(start(), loop).result(20)

    async def stop() -> None:
        listening.close()
        await server.stop()

    try:
        yield server
        server.check_used()
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
