"""``/v1/responses``: create, retrieve, cancel, delete, and what was asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from ...chunks import Status
from ...errors import SessionNotFound
from ...http.frames import REFUSED
from ...serving.origins import comes_from_elsewhere, is_of_another_site
from ...wording import short
from ..context import Gateway
from ..errors import (
    NO_RETRY,
    GatewayError,
    UpstreamFailed,
    UpstreamRefused,
    invalid,
    response_of,
)
from ..keys import Caller, session_of
from ..translation import Untranslatable, input_items
from .asked import Asked
from .creating import RESPONSE_ID, Creating
from .recovering import Recovery
from .showing import Showing, json_response, telling_of
from .socket import ResponsesSocket
from .speaking import ResponsesApi, Speaks
from .stored import Log, Stored, find

__all__ = ["ResponsesRoutes"]

# How long a cancel may take, in seconds.
_CANCELLING = 5.0
# Of a list of input items.
_LISTED = 20
_MOST_LISTED = 100


class ResponsesRoutes:
    def __init__(self, gateway: Gateway, speaks: Speaks, recovery: Recovery) -> None:
        self._gateway = gateway
        self._hub = gateway.hub
        self._speaks = speaks
        self._recovery = recovery
        self._showing = Showing(gateway, recovery)
        self._creating = Creating(gateway, speaks, recovery, self._showing)

    @property
    def routes(self) -> list[BaseRoute]:
        one = "/v1/responses/{response_id}"
        return [
            Route("/v1/responses", self._creating.create, methods=["POST"]),
            WebSocketRoute("/v1/responses", self.connect),
            Route(one, self.one, methods=["GET", "DELETE"]),
            Route(f"{one}/cancel", self.cancel, methods=["POST"]),
            Route(f"{one}/input_items", self.input_items, methods=["GET"]),
        ]

    async def connect(self, websocket: WebSocket) -> None:
        try:
            self._refuse_from_elsewhere(websocket)
            self._gateway.keys.caller(websocket)
        except GatewayError as error:
            with suppress(RuntimeError):
                # Of a server that can say why; any other says 403.
                await websocket.send_denial_response(response_of(error))
                return
            await websocket.close(REFUSED)
            return
        scope = websocket.scope
        # It would be that of all requests of the connection.
        scope["headers"] = [one for one in scope["headers"] if one[0] != b"idempotency-key"]
        await ResponsesSocket(websocket, self._gateway.limits).run()

    def _refuse_from_elsewhere(self, websocket: WebSocket) -> None:
        """
        :raises GatewayError: a page of another site connects. What it reads no browser keeps from
            it, and without keys of the gateway's own it needs none.
        """
        keyless = self._gateway.keys.own is None
        is_refused = is_of_another_site if keyless else comes_from_elsewhere
        if is_refused(websocket, frozenset()):
            raise GatewayError(403, "forbidden", "pages of other sites may not ask here")

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
            obfuscation = _flag(request, "include_obfuscation", default=True)
            return self._showing.stream(stored, caller, after=after, obfuscation=obfuscation)
        if stored.info.status is Status.LOST:
            await self._recovery.recover(stored, caller.headers)
        return await self._showing.whole(stored)

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
            code, param = "response_restarted", "starting_after"
            raise GatewayError(409, code, message, param=param, headers=NO_RETRY)
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
        log = await self._stop(stored, caller, "cancelled by its client")
        response = log.response()
        if response.get("status") in ("completed", "failed", "incomplete"):
            message = f"Cannot cancel a {response['status']} response."
            raise invalid(message, code="response_not_cancellable")
        return json_response(telling_of(log.stored).response(response))

    async def _stop(self, stored: Stored, caller: Caller, reason: str) -> Log:
        """Cancel what goes on, here and upstream; how it stands then."""
        going_on = stored.info.status in (Status.ACTIVE, Status.LOST)
        if going_on and not (await stored.log()).is_over:
            # One whose gateway was killed is active for as long as its lease.
            patience = self._hub.config.lease + _CANCELLING
            await stored.stream.cancel(wait=patience, reason=reason)
        log = await stored.log()
        if stored.info.status is not Status.CANCELLED:
            await self._cancel_upstream(log, caller)
        return log

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
        log = await self._stop(stored, caller, "deleted by its client")
        if log.upstream_keeps_it and isinstance(self._speaks, ResponsesApi):
            assert log.upstream is not None
            try:
                await self._speaks.delete(log.upstream, caller.headers)
            except UpstreamRefused as refused:
                # One that keeps nothing has nothing to delete.
                if refused.status not in (404, 405, 501):
                    raise
        await self._hub.remove(stored.stream.session_id)
        told = {"id": stored.response_id, "object": "response", "deleted": True}
        return json_response(msgspec.json.encode(told))

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
        return json_response(msgspec.json.encode(told))

    async def _find(self, request: Request, caller: Caller) -> Stored:
        """
        :raises GatewayError: there is none for this caller, and why that may be is not told.
        """
        response_id = request.path_params["response_id"]
        missing = GatewayError(
            404, "response_not_found", f"Response with id {short(response_id)} not found."
        )
        if not RESPONSE_ID.fullmatch(response_id):
            raise missing
        try:
            stored = await find(self._hub, session_of(caller, response_id))
        except SessionNotFound:
            raise missing from None
        if stored is None or not stored.facts.store:
            raise missing
        return stored


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
