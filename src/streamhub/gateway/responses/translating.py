"""Where the events of an answer come from with an upstream that speaks Chat Completions: its chunks
are translated, and what was said before is looked up here."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec

from ...errors import SessionNotFound
from ...formats.sse import Event
from ...hub import Hub
from ...wording import short
from ..errors import GatewayError, UpstreamFailed, UpstreamRefused, invalid
from ..keys import session_below
from ..translation import (
    ChatAnswer,
    Untranslatable,
    chat_request,
    chunk_of,
    input_items,
    named_responses,
    new_response,
)
from ..upstream import Headers, Upstream, UpstreamAnswer, decoded, storable
from .asked import Asked
from .speaking import ResponsesApi
from .stored import Log, find

__all__ = ["ChatApi", "EitherApi"]

_PATH = "/chat/completions"
_object = msgspec.json.Decoder(dict[str, Any]).decode
# How an upstream answers that has no Responses API.
_MISSING = (404, 405, 501)


class Conversations:
    """What was said before a request, as far as it is kept here."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def before(self, session_id: str, previous: str | None) -> list[dict[str, Any]]:
        """What was asked and answered before, the oldest first."""
        before: list[list[dict[str, Any]]] = []
        first = previous
        while previous is not None:
            log = await self._log(session_id, previous)
            if log is None or log.request is None or not log.stored.facts.store:
                raise _no_previous(first, previous)
            response = log.response()
            if response.get("status") in ("queued", "in_progress"):
                message = f"Previous response with id {short(previous)} is still in progress."
                raise invalid(
                    message, param="previous_response_id", code="previous_response_in_progress"
                )
            before.append([*input_items(log.request.values()), *_output(response)])
            previous = log.request.previous
        return [item for items in reversed(before) for item in items]

    async def named(self, session_id: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The output of the responses of which the request names an item."""
        found: list[dict[str, Any]] = []
        for response_id in named_responses(items):
            if (log := await self._log(session_id, response_id)) is not None:
                found += log.response().get("output") or []
        return found

    async def _log(self, session_id: str, response_id: str) -> Log | None:
        """Of an answer of the same client."""
        try:
            stored = await find(self._hub, session_below(session_id, response_id))
            return None if stored is None else await stored.gist()
        except SessionNotFound:
            return None


class ChatApi:
    """See :class:`~streamhub.gateway.responses.speaking.Speaks`. The upstream knows nothing of
    responses: the gateway keeps what was said before, and what goes on in the background."""

    def __init__(self, upstream: Upstream, hub: Hub) -> None:
        self._upstream = upstream
        self._conversations = Conversations(hub)

    @asynccontextmanager
    async def ask(
        self,
        asked: Asked,
        headers: Headers,
        *,
        session_id: str,
        previous: str | None,
        background: bool,
    ) -> AsyncGenerator[AsyncIterator[Event]]:
        request = asked.values()
        try:
            own = input_items(request)
            earlier = await self._conversations.before(session_id, asked.previous)
            named = await self._conversations.named(session_id, own)
            content = msgspec.json.encode(chat_request(request, earlier, named))
        except Untranslatable as error:
            raise invalid(str(error), param=error.param, code=error.code) from None
        answer = ChatAnswer(new_response(request, session_id.rpartition(":")[2], int(time.time())))
        told = [*headers, ("accept", "text/event-stream")]
        async with self._upstream.open("POST", _PATH, told, content=content) as answered:
            await answered.check()
            if answered.media_type not in ("text/event-stream", "application/json"):
                raise await answered.unexpected("a stream of events")
            async with aclosing(_translated(answer, answered)) as events:
                yield events


class EitherApi(ResponsesApi):
    """Finds out which of the two the upstream speaks, by the first answer that is asked for: one
    that has no Responses API, or less than one, is asked in the other dialect. One that has it, but
    keeps no responses, is told what was said before."""

    def __init__(self, upstream: Upstream, hub: Hub) -> None:
        super().__init__(upstream)
        self._chat = ChatApi(upstream, hub)
        self._conversations = Conversations(hub)
        self._speaks_chat: bool | None = None

    @asynccontextmanager
    async def ask(
        self,
        asked: Asked,
        headers: Headers,
        *,
        session_id: str,
        previous: str | None,
        background: bool,
    ) -> AsyncGenerator[AsyncIterator[Event]]:
        asks: dict[str, Any] = {"session_id": session_id, "background": background}
        settles = previous is None
        if not self._speaks_chat:
            async with AsyncExitStack() as stack:
                events, knows = await self._begun(stack, asked, headers, previous, asks)
                if events is not None and not knows:
                    await stack.aclose()
                    told = await self._told_all(session_id, asked)
                    events, _ = await self._begun(stack, told, headers, None, asks)
                if events is not None:
                    yield events
                    return
                settles = settles and knows
        async with self._chat.ask(asked, headers, previous=previous, **asks) as events:
            if self._speaks_chat is None and settles:
                # Otherwise it may have been the response before that was not there, or the model.
                self._speaks_chat = True
            yield events

    async def _begun(
        self,
        stack: AsyncExitStack,
        asked: Asked,
        headers: Headers,
        previous: str | None,
        asks: dict[str, Any],
    ) -> tuple[AsyncIterator[Event] | None, bool]:
        """The events of an answer, None where the upstream has no Responses API; and whether it
        knows of the response before, or of the model."""
        asking = super().ask(asked, headers, previous=previous, **asks)
        try:
            events = await stack.enter_async_context(asking)
        except UpstreamRefused as refused:
            if previous is not None and "previous_response" in f"{refused.body!r}":
                return _with(None, None), False
            if self._speaks_chat is False or refused.status not in _MISSING:
                raise
            return None, refused.code != "model_not_found"
        if self._speaks_chat is False and previous is None:
            return events, True
        first = await anext(events, None)
        response = _response_of(first)
        if self._speaks_chat is None and response is not None and "output" not in response:
            # The clients need what its events leave out.
            self._speaks_chat = True
            await stack.aclose()
            return None, True
        self._speaks_chat = False
        knows = previous is None or response is None or bool(response.get("previous_response_id"))
        whole = _with(first, events)
        stack.push_async_callback(whole.aclose)
        return whole, knows

    async def _told_all(self, session_id: str, asked: Asked) -> Asked:
        """The same request, with what was said before as its input.

        :raises GatewayError: that is not kept here, either.
        """
        items = await self._conversations.before(session_id, asked.previous)
        try:
            items += input_items(asked.values())
        except Untranslatable as error:
            raise invalid(str(error), param=error.param, code=error.code) from None
        fields = {**asked.fields, "input": msgspec.Raw(msgspec.json.encode(items))}
        del fields["previous_response_id"]
        return replace(asked, fields=fields)


async def _translated(answer: ChatAnswer, answered: UpstreamAnswer) -> AsyncGenerator[Event]:
    for event in answer.begin():
        yield _event(event)
    async with aclosing(_chunks(answered)) as chunks:
        async for chunk in chunks:
            try:
                said = [] if chunk is None else answer.take(chunk)
            except (AttributeError, TypeError, ValueError) as error:
                raise _no_chunk(error) from None
            if chunk is None or answer.is_complete:
                said += answer.end(done=True, at=int(time.time()))
            for event in said:
                yield _event(event)
    for event in answer.end(done=False, at=int(time.time())):
        yield _event(event)


def _response_of(event: Event | None) -> dict[str, Any] | None:
    """The Response that an event tells."""
    try:
        response = None if event is None else _object(event.data).get("response")
    except (msgspec.DecodeError, RecursionError):
        return None
    return response if isinstance(response, dict) else None


async def _with(first: Event | None, events: AsyncIterator[Event] | None) -> AsyncGenerator[Event]:
    if first is not None:
        yield first
    if events is not None:
        async for event in events:
            yield event


async def _chunks(answered: UpstreamAnswer) -> AsyncGenerator[Any]:
    """Each of them; None for the word that there are no more."""
    if answered.media_type == "application/json":
        # It does not stream.
        completion = _decoded((await answered.read()).decode(errors="replace"))
        try:
            chunk = chunk_of(completion)
        except (AttributeError, TypeError, ValueError) as error:
            raise _no_chunk(error) from None
        yield chunk
        yield None
        return
    async with aclosing(answered.events()) as events:
        async for event in events:
            yield None if event.data == "[DONE]" else _decoded(event.data)


def _decoded(data: str) -> dict[str, Any]:
    try:
        chunk = decoded(data)
    except ValueError as error:
        raise _no_chunk(error) from None
    if not isinstance(chunk, dict):
        raise _no_chunk(f"it is {short(chunk)}")
    return chunk


def _no_chunk(why: object) -> UpstreamFailed:
    message = f"the upstream has sent what is no chunk of a completion: {why}"
    return UpstreamFailed(502, "upstream_unexpected", message)


def _event(event: dict[str, Any]) -> Event:
    try:
        said = msgspec.json.encode(event).decode()
    except UnicodeEncodeError:
        said = storable(json.dumps(event, ensure_ascii=False))
    return Event(said, event["type"])


def _output(response: dict[str, Any]) -> list[dict[str, Any]]:
    """What an answer said, without calls that it did not come to the end of."""
    return [
        item
        for item in response.get("output") or []
        if item.get("type") != "function_call" or item.get("status") == "completed"
    ]


def _no_previous(first: str | None, missing: str) -> GatewayError:
    message = f"Previous response with id {short(missing)} not found."
    if missing != first:
        message += f" {short(first)} is the answer to it, and cannot be gone on with either."
    return GatewayError(400, "previous_response_not_found", message, param="previous_response_id")
