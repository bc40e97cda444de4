"""``POST /v1/responses``: an answer is begun, or with an ``Idempotency-Key`` followed."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from hashlib import sha256

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ...chunks import Status
from ...errors import SessionNotFound, StoreUnavailable, StreamHubError
from ...serving.disconnects import ClientGone, unless_gone
from ...wording import short
from ..context import Gateway
from ..errors import NO_RETRY, GatewayError, invalid
from ..keys import Caller, session_of
from ..limits import body_of
from ..places import too_many
from .answering import Answering
from .asked import Asked, Facts, request_pieces
from .objects import began
from .recovering import Recovery, previous_of
from .showing import Showing, json_response, telling_of
from .speaking import Speaks
from .stored import Stored, find

__all__ = ["RESPONSE_ID", "Creating"]

#: What the ids of this gateway look like.
RESPONSE_ID = re.compile(r"resp_[0-9a-f]{32}", re.ASCII)
# For how many seconds an answer in the background is waited for to begin, before its client is told
# that it is queued; and how often it is looked whether a source that is to begin still can.
_BEGINNING = 2.0
_LOOK = 5.0
# Of the log of an answer, the part that the request may be: a larger one is not kept.
_PART_OF_LOG = 2
_LONGEST_KEY = 255
# How often an answer is looked at that others begin and lose meanwhile.
_ATTEMPTS = 5


class Creating:
    def __init__(
        self, gateway: Gateway, speaks: Speaks, recovery: Recovery, showing: Showing
    ) -> None:
        self._gateway = gateway
        self._hub = gateway.hub
        self._speaks = speaks
        self._recovery = recovery
        self._showing = showing
        #: Whether the store took the last claim that it was asked for.
        self._store_answers = True

    async def create(self, request: Request) -> Response:
        # A mounted application has no beginning of its own.
        self._recovery.begin()
        caller = self._gateway.keys.caller(request)
        raw = await body_of(request, self._gateway.limits)
        asked = Asked.of(raw)
        # What is kept for nobody cannot be asked for again.
        key = _key_of(request) if asked.store else None
        session_id = session_of(caller, _response_id(caller, key))
        answering = await self._begin(caller, asked, raw, session_id, keyed=key is not None)
        stays = asked.background or key is not None
        goes_on = stays or (self._gateway.detach and asked.store)
        stop = _nothing if answering is None or goes_on else answering.stop
        try:
            stored = await find(self._hub, session_id)
        except StreamHubError:
            stop()
            raise
        if stored is None:
            stop()
            raise GatewayError(503, "answer_lost", "the answer did not begin: ask again")
        if answering is None:
            return await self._follow(request, caller, asked, stored)
        try:
            begun = await unless_gone(request.receive, self._begins(answering, stored))
        except ClientGone:
            if not stays:
                await self._showing.leave(stored, stop)
            raise
        except StreamHubError:
            stop()
            raise
        except GatewayError:
            await self._showing.forget(stored)
            raise
        if asked.stream:
            return self._showing.stream(stored, caller, stays=stays, stop=stop)
        if asked.background:
            if begun:
                return await self._showing.whole(stored)
            response = began(stored.response_id, stored.facts, asked, "queued")
            return json_response(telling_of(stored).response(response))
        return await self._wait(request, caller, answering, stored, stays=stays, stop=stop)

    async def _begin(
        self, caller: Caller, asked: Asked, raw: bytes, session_id: str, *, keyed: bool
    ) -> Answering | None:
        """What draws the answer now; None where that is being done, or was, for the same key.

        :raises GatewayError: there is no place for it, or the key stands for another request.
        """
        previous = await self._previous(session_id, asked)
        pieces = self._kept(asked, raw)
        fingerprint = asked.fingerprint if keyed else None
        facts = Facts.at_first(asked, len(pieces))
        replaces = "" if keyed else None
        for _ in range(_ATTEMPTS):
            answering = Answering(
                self._hub,
                self._speaks,
                facts,
                caller.headers,
                asked=asked,
                previous=previous,
                pieces=pieces,
            )
            try:
                if await self._claim(
                    caller, asked, session_id, answering, facts, fingerprint, replaces
                ):
                    return answering
                stored = await find(self._hub, session_id)
            except SessionNotFound:
                stored = None
            if stored is None:
                replaces = ""
                continue
            if stored.info.request != fingerprint:
                message = "this Idempotency-Key was used for another request"
                raise GatewayError(409, "idempotency_key_reuse", message, headers=NO_RETRY)
            if stored.info.status is not Status.FAILED:
                return None
            # Its client knows that it has failed, and means that by asking again.
            log = await stored.log()
            base = stored.facts.base + len(log.events) + len(log.endings())
            facts = msgspec.structs.replace(facts, base=base)
            replaces = log.generation
        raise GatewayError(503, "answer_lost", "this answer was lost again and again")

    async def _claim(
        self,
        caller: Caller,
        asked: Asked,
        session_id: str,
        answering: Answering,
        facts: Facts,
        fingerprint: str | None,
        replaces: str | None,
    ) -> bool:
        give_back = self._gateway.places.take(caller.key_hash)
        if give_back is None:
            # To follow what is under way takes none.
            if fingerprint is not None and await find(self._hub, session_id) is not None:
                return False
            raise too_many(self._gateway.limits.max_answers_per_key)
        answering.on_done = give_back
        if self._store_answers and fingerprint is None and asked.stream and not asked.background:
            # Nobody else can be asking for this answer, so that it is asked for once all the same.
            answering.ask_ahead(session_id)
        try:
            stream, claimed = await self._hub.register(
                session_id,
                owner=facts.owner,
                metadata=facts,
                request=fingerprint,
                replaces=replaces,
            )
        except BaseException as error:
            # Where a store is away, each attempt would be paid for.
            self._store_answers = not isinstance(error, StoreUnavailable)
            give_back()
            await answering.drop()
            raise
        self._store_answers = True
        if claimed:
            stream.spawn_body(answering.produce)
        else:
            give_back()
            await answering.drop()
        return claimed

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

    async def _wait(
        self,
        request: Request,
        caller: Caller,
        answering: Answering,
        stored: Stored,
        *,
        stays: bool,
        stop: Callable[[], object],
    ) -> Response:
        """The answer to a client that waits for all of it."""
        try:
            await self._ended(request, caller, stored)
        except ClientGone:
            if not stays:
                await self._showing.leave(stored, stop)
            raise
        except StreamHubError:
            stop()
            raise
        try:
            if answering.failure is not None:
                raise answering.failure
            return await self._showing.whole(stored)
        finally:
            if not stored.facts.store:
                await self._showing.forget(stored)

    async def _follow(
        self, request: Request, caller: Caller, asked: Asked, stored: Stored
    ) -> Response:
        """An answer that was asked for before, under the same key."""
        if asked.stream:
            return self._showing.stream(stored, caller)
        if not asked.background:
            await self._ended(request, caller, stored)
        elif stored.info.status is Status.LOST:
            await self._recovery.recover(stored, caller.headers)
        return await self._showing.whole(stored)

    async def _ended(self, request: Request, caller: Caller, stored: Stored) -> None:
        """Wait for the end, over what is lost before.

        :raises ClientGone: nobody waits for it any more.
        """
        while await unless_gone(request.receive, stored.stream.wait()) is Status.LOST:
            await self._recovery.recover(stored, caller.headers)

    async def _previous(self, session_id: str, asked: Asked) -> str | None:
        """The upstream's name for the response before."""
        known = await previous_of(self._hub, session_id, asked.previous)
        if asked.previous is None or known is not None:
            return known
        if self._gateway.keys.own is not None or RESPONSE_ID.fullmatch(asked.previous):
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


def _nothing() -> None:
    """To stop what goes on without its client."""


def _key_of(request: Request) -> str | None:
    """:raises GatewayError: it is too long, or empty."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= _LONGEST_KEY:
        raise invalid(f"Idempotency-Key must have 1 to {_LONGEST_KEY} characters, not {len(key)}")
    return key


def _response_id(caller: Caller, key: str | None) -> str:
    if key is None:
        return f"resp_{secrets.token_hex(16)}"
    named = sha256(f"{caller.key_hash}\0{key}".encode()).hexdigest()
    return f"resp_{named[:32]}"
