"""``/v1/responses``: create, retrieve, cancel, delete, and what was asked for."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import suppress
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...chunks import Status
from ...errors import SessionNotFound, StreamHubError, short
from ...serving.disconnects import ClientGone, unless_gone
from ..context import Gateway
from ..errors import GatewayError, UpstreamFailed, UpstreamRefused, invalid
from ..events_response import EventsResponse
from ..keys import OWNER, Caller, session_of
from ..limits import body_of
from ..places import too_many
from ..translation import Untranslatable, input_items
from .answering import Answering
from .asked import Asked, Facts, request_pieces
from .following import Following
from .objects import began
from .recovering import Recovery, previous_of
from .speaking import ResponsesApi, Speaks
from .stored import Log, Stored, find
from .telling import Telling

__all__ = ["ResponsesRoutes"]

_ID = re.compile(r"resp_[0-9a-f]{32}", re.ASCII)
# For how many seconds an answer in the background is waited for to begin, before its client is told
# that it is queued; how long a cancel may take; and how often it is looked whether a source that
# is to begin still can.
_BEGINNING = 2.0
_CANCELLING = 5.0
_LOOK = 5.0
# Of a list of input items.
_LISTED = 20
_MOST_LISTED = 100
# Of the log of an answer, how much of it the request may be: a larger one is not kept.
_PART_OF_LOG = 2


class ResponsesRoutes:
    def __init__(self, gateway: Gateway, speaks: Speaks, recovery: Recovery) -> None:
        self._gateway = gateway
        self._hub = gateway.hub
        self._speaks = speaks
        self._recovery = recovery

    @property
    def routes(self) -> list[BaseRoute]:
        one = "/v1/responses/{response_id}"
        return [
            Route("/v1/responses", self.create, methods=["POST"]),
            Route(one, self.one, methods=["GET", "DELETE"]),
            Route(f"{one}/cancel", self.cancel, methods=["POST"]),
            Route(f"{one}/input_items", self.input_items, methods=["GET"]),
        ]

    # Creating one.

    async def create(self, request: Request) -> Response:
        # A mounted application has no beginning of its own.
        self._recovery.begin()
        caller = self._gateway.keys.caller(request)
        raw = await body_of(request, self._gateway.limits)
        asked = Asked.of(raw)
        session_id = session_of(caller, f"resp_{secrets.token_hex(16)}")
        previous = await self._previous(session_id, asked)
        pieces = self._kept(asked, raw)
        facts = Facts.at_first(asked, len(pieces))
        answering = Answering(
            self._hub,
            self._speaks,
            facts,
            caller.headers,
            asked=asked,
            previous=previous,
            pieces=pieces,
        )
        await self._run(caller, session_id, answering, facts)
        stored = await find(self._hub, session_id)
        if stored is None:
            raise GatewayError(503, "store_unavailable", "the gateway's store has lost the answer")
        try:
            begun = await unless_gone(request.receive, self._begins(answering, stored))
        except ClientGone:
            if not asked.background:
                await self._leave(stored)
            raise
        except GatewayError:
            await self._forget(stored)
            raise
        if asked.stream:
            return self._stream(request, stored, caller, after=None, follows=not asked.background)
        if asked.background:
            return await self._told(stored) if begun else self._queued(stored, asked)
        return await self._whole(request, answering, stored)

    async def _run(
        self, caller: Caller, session_id: str, answering: Answering, facts: Facts
    ) -> None:
        give_back = self._gateway.places.take(caller.key_hash)
        if give_back is None:
            raise too_many(self._gateway.limits.max_answers_per_key)
        answering.on_done = give_back
        try:
            await self._hub.run(session_id, answering.produce, owner=OWNER, metadata=facts)
        except BaseException:
            give_back()
            raise

    async def _begins(self, answering: Answering, stored: Stored) -> bool:
        """Wait for the first event; False where one in the background takes long.

        :raises GatewayError: there is none.
        """
        until = asyncio.get_running_loop().time() + _BEGINNING
        while not answering.begun.done():
            patience = _LOOK
            if stored.facts.background:
                patience = min(_LOOK, until - asyncio.get_running_loop().time())
                if patience <= 0:
                    answering.awaited = False
                    return False
            await asyncio.wait([answering.begun], timeout=patience)
            if not answering.begun.done() and await stored.stream.done():
                break  # it was cancelled, or the hub closes, before it could begin
        if answering.begun.done():
            await answering.begun
        return True

    async def _whole(self, request: Request, answering: Answering, stored: Stored) -> Response:
        """The answer to a client that waits for all of it."""
        try:
            await unless_gone(request.receive, stored.stream.wait())
        except ClientGone:
            await self._leave(stored)
            raise
        try:
            if answering.failure is not None:
                raise answering.failure
            return await self._told(stored)
        finally:
            if not stored.facts.store:
                await self._forget(stored)

    async def _leave(self, stored: Stored) -> None:
        """The client of an answer in the foreground has gone."""
        if not stored.facts.store:
            await self._forget(stored)
        elif not self._gateway.detach:
            with suppress(StreamHubError):
                await stored.stream.cancel(reason="its client has left")

    async def _forget(self, stored: Stored) -> None:
        with suppress(StreamHubError):
            await self._hub.remove(stored.stream.session_id)

    async def _previous(self, session_id: str, asked: Asked) -> str | None:
        """The upstream's name for the response before."""
        known = await previous_of(self._hub, session_id, asked.previous)
        if asked.previous is None or known is not None:
            return known
        if self._gateway.keys.own is not None or _ID.fullmatch(asked.previous):
            message = f"Previous response with id {short(asked.previous)} not found."
            code = "previous_response_not_found"
            raise GatewayError(400, code, message, param="previous_response_id")
        # The client may have it from the upstream itself, which knows whether it may.
        return asked.previous

    def _kept(self, asked: Asked, raw: bytes) -> list[str]:
        config = self._hub.config
        if not asked.store or len(raw) > config.max_stream_bytes // _PART_OF_LOG:
            return []
        return request_pieces(raw, config.max_chunk_bytes)

    # What there is of one.

    async def one(self, request: Request) -> Response:
        # One route, so that it can tell all of its methods.
        return await (self._delete if request.method == "DELETE" else self._retrieve)(request)

    async def _retrieve(self, request: Request) -> Response:
        caller = self._gateway.keys.caller(request)
        stream = _flag(request, "stream", default=False)
        after = _number(request, "starting_after")
        if after is not None and not stream:
            raise invalid("starting_after is for stream=true", param="starting_after")
        stored = await self._find(request, caller)
        if stream:
            await self._check_after(stored, after)
            return self._stream(request, stored, caller, after=after)
        if stored.info.status is Status.LOST:
            await self._recovery.recover(stored, caller.headers)
        return await self._told(stored)

    def _stream(
        self,
        request: Request,
        stored: Stored,
        caller: Caller,
        *,
        after: int | None,
        follows: bool = False,
    ) -> Response:
        """
        :param follows: whether the answer is one in the foreground, and this its client.
        """
        obfuscation = _flag(request, "include_obfuscation", default=True)
        telling = Telling(stored.response_id, stored.facts, obfuscation=obfuscation)

        async def recover(stored: Stored) -> None:
            await self._recovery.recover(stored, caller.headers)

        forgets = not stored.facts.store
        pieces = Following(
            stored,
            telling,
            after=after,
            recover=recover,
            on_close=(lambda: self._forget(stored)) if forgets else None,
        )

        async def left() -> None:
            if follows and not pieces.over:
                await self._leave(stored)

        return EventsResponse(pieces, on_left=left)

    async def _check_after(self, stored: Stored, after: int | None) -> None:
        """:raises GatewayError: the client cannot go on after this number."""
        if after is None:
            return
        facts, info = stored.facts, stored.info
        if after < facts.base:
            message = (
                "the answer was lost after this event, and is given anew: "
                "ask for it without starting_after"
            )
            raise GatewayError(409, "response_restarted", message, param="starting_after")
        last = facts.number(info.last.offset)
        # Of one that goes on the store may have lost some, which its producer puts back.
        if after > last and info.status not in (Status.ACTIVE, Status.LOST):
            last += len((await stored.log()).endings())
            if after > last:
                message = f"the last event of this response has the number {last}, not {after}"
                raise invalid(message, param="starting_after", code="starting_after_beyond_end")

    async def cancel(self, request: Request) -> Response:
        caller = self._gateway.keys.caller(request)
        stored = await self._find(request, caller)
        going_on = stored.info.status in (Status.ACTIVE, Status.LOST)
        if going_on and not (await stored.log()).is_over:
            # One whose gateway was killed is active for as long as its lease.
            patience = self._hub.config.lease + _CANCELLING
            await stored.stream.cancel(wait=patience, reason="cancelled by its client")
        log = await stored.log()
        if stored.info.status is not Status.CANCELLED:
            await self._cancel_upstream(log, caller)
        response = log.response()
        if response.get("status") in ("completed", "failed", "incomplete"):
            message = f"Cannot cancel a {response['status']} response."
            raise invalid(message, code="response_not_cancellable")
        return _json(self._telling(log).response(response))

    async def _cancel_upstream(self, log: Log, caller: Caller) -> None:
        """Where nobody draws the answer, nobody else does."""
        if log.stored.info.status is not Status.CANCELLED or log.is_over or not log.reattaches:
            return
        if isinstance(self._speaks, ResponsesApi):
            assert log.upstream is not None
            with suppress(UpstreamFailed, UpstreamRefused):
                await self._speaks.cancel(log.upstream, caller.headers)

    async def _delete(self, request: Request) -> Response:
        caller = self._gateway.keys.caller(request)
        stored = await self._find(request, caller)
        if stored.info.status is Status.ACTIVE:
            await stored.stream.cancel(wait=_CANCELLING, reason="deleted by its client")
        log = await stored.log()
        if log.upstream is not None and isinstance(self._speaks, ResponsesApi):
            try:
                await self._speaks.delete(log.upstream, caller.headers)
            except UpstreamRefused as refused:
                # One that keeps nothing has nothing to delete.
                if refused.status not in (404, 405, 501):
                    raise
        await self._hub.remove(stored.stream.session_id)
        told = {"id": stored.response_id, "object": "response", "deleted": True}
        return _json(msgspec.json.encode(told))

    async def input_items(self, request: Request) -> Response:
        caller = self._gateway.keys.caller(request)
        limit = _number(request, "limit")
        if limit is not None and not 1 <= limit <= _MOST_LISTED:
            raise invalid(f"limit must be 1 to {_MOST_LISTED}, not {limit}", param="limit")
        order = request.query_params.get("order", "desc")
        if order not in ("asc", "desc"):
            raise invalid(f"order must be asc or desc, not {short(order)}", param="order")
        stored = await self._find(request, caller)
        log = await stored.log()
        if log.request is None:
            message = "the input of this response was too large to be kept"
            raise GatewayError(404, "input_not_kept", message)
        items = _items(stored.response_id, log.request)
        if order == "desc":
            items.reverse()
        after = request.query_params.get("after")
        if after is not None:
            places = [place for place, item in enumerate(items, 1) if item["id"] == after]
            if not places:
                raise invalid(f"there is no item {short(after)}", param="after")
            items = items[places[0] :]
        page = items[: limit or _LISTED]
        told = {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(page) < len(items),
        }
        return _json(msgspec.json.encode(told))

    async def _find(self, request: Request, caller: Caller) -> Stored:
        """
        :raises GatewayError: there is none for this caller, and why that may be is not told.
        """
        response_id = request.path_params["response_id"]
        missing = GatewayError(
            404, "response_not_found", f"Response with id {short(response_id)} not found."
        )
        if not _ID.fullmatch(response_id):
            raise missing
        try:
            stored = await find(self._hub, session_of(caller, response_id))
        except SessionNotFound:
            raise missing from None
        if stored is None or not stored.facts.store:
            raise missing
        return stored

    async def _told(self, stored: Stored) -> Response:
        log = await stored.log()
        return _json(self._telling(log).response(log.response()))

    def _queued(self, stored: Stored, asked: Asked) -> Response:
        response = began(stored.response_id, stored.facts, asked, "queued")
        return _json(Telling(stored.response_id, stored.facts).response(response))

    def _telling(self, log: Log) -> Telling:
        return Telling(log.stored.response_id, log.stored.facts)


def _items(response_id: str, asked: Asked) -> list[dict[str, Any]]:
    """The input of a request, with an id for each item."""
    named = response_id.removeprefix("resp_")
    try:
        given = input_items(asked.values())
    except Untranslatable:
        return []  # the upstream knows what it is
    return [
        {"type": "message", "id": f"msg_{named}_{number}", **item}
        for number, item in enumerate(given)
    ]


def _json(body: bytes) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(body, headers=headers, media_type="application/json")


def _flag(request: Request, name: str, *, default: bool) -> bool:
    given = request.query_params.get(name)
    if given is None:
        return default
    if given not in ("true", "false"):
        raise invalid(f"{name} must be true or false, not {short(given)}", param=name)
    return given == "true"


def _number(request: Request, name: str) -> int | None:
    given = request.query_params.get(name)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 15):
        raise invalid(f"{name} must be a number from 0 on, not {short(given)}", param=name)
    return int(given)
