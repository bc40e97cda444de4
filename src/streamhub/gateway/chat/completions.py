"""Chat completions: asked of the upstream once, followed and stopped by whoever holds the key."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ...chunks import SessionInfo, Status
from ...errors import HubClosed, SessionNotFound, StoreUnavailable, StreamHubError
from ...producing.own_reader import OwnReader
from ...serving.disconnects import unless_gone
from ...serving.queries import held_cursor
from ...stream import LiveStream
from ..context import Gateway
from ..errors import NO_RETRY, GatewayError, invalid
from ..keys import OWNER, Caller, session_of
from ..limits import body_of
from ..places import too_many
from .asked import COMPLETION_ID, PREFIX, AskedCompletion, asked_completion
from .asking import Asking, headers_of, whole_body
from .log import Head
from .reading import head_of, whole_of
from .response import AskedResponse, CompletionResponse, OwnAnswer

__all__ = ["ChatCompletions"]

logger: logging.Logger = logging.getLogger("streamhub")

#: The owner of their sessions: not that of answers that a gateway takes over when they are lost,
#: since no upstream goes on with a chat completion.
_OWNER = f"{OWNER}:chat"
_PATH = "/chat/completions"
# What the ids of this gateway look like.
_ID = re.compile(rf"{PREFIX}[0-9a-f]{{32}}", re.ASCII)
# How often a session is looked at that others claim and lose meanwhile.
_ATTEMPTS = 5
# After so many seconds without a word of what asks it is looked whether it does.
_UNHEARD = 5.0
# How long a cancel waits for the end, in seconds: longer than a producer may take to stop.
_STOPPING = 5.0
_SWITCHES = {"true": True, "1": True, "false": False, "0": False}


class ChatCompletions:
    """See :func:`create_gateway`; only ids of the gateway's own are answered here."""

    def __init__(self, gateway: Gateway) -> None:
        self._hub = gateway.hub
        self._upstream = gateway.upstream
        self._keys = gateway.keys
        self._limits = gateway.limits
        self._places = gateway.places
        self._detach = gateway.detach
        self._retry_lost = gateway.retry_lost
        #: Whether the store took the last claim that it was asked for.
        self._store_answers = True

    async def create(self, request: Request) -> Response:
        """``POST /v1/chat/completions``"""
        caller = self._keys.caller(request)
        body = await body_of(request, self._limits)
        asked = asked_completion(request, caller, body)
        if not asked.streamed and not asked.kept:
            return await unless_gone(request.receive, self._pass_on(request, caller, body))
        for _ in range(_ATTEMPTS):
            stream, asking = await self._find_or_begin(request, caller, asked)
            # One with a key may come from the middle of an answer that has failed.
            resumes = asked.kept and held_cursor(request) is not None
            if asking is not None and asked.streamed and not resumes:
                return AskedResponse(
                    OwnAnswer(
                        stream,
                        OwnReader(stream.production("read").producer),
                        ids=asked.kept or self._detach,
                    ),
                    asked.completion_id,
                    begins=partial(self._begins, stream, asking),
                    whole=partial(self._whole, stream, asked.completion_id),
                    on_over=partial(self._leave, stream, asking, asked),
                )
            try:
                head = await unless_gone(request.receive, self._begins(stream, asking))
                if not head.streamed:
                    whole = self._whole(stream, asked.completion_id)
                    return await unless_gone(request.receive, whole)
            except GatewayError as error:
                if error.code == "answer_lost" and self._retry_lost and asking is None:
                    # Nothing of it was sent: this client's answer can begin anew.
                    continue
                raise
            return CompletionResponse(
                stream, asked.completion_id, head, ids=asked.kept or self._detach
            )
        raise GatewayError(503, "answer_lost", "this answer was lost again and again")

    async def retrieve(self, request: Request) -> Response:
        """``GET /v1/chat/completions/{id}``, for an id of the gateway's own."""
        caller, completion_id = self._keys.caller(request), request.path_params["completion"]
        streamed = request.query_params.get("stream", "false").lower()
        if streamed not in _SWITCHES:
            raise invalid(f"stream must be true or false, not {streamed!r:.80}", param="stream")
        stream = await self._found(request, caller, completion_id)
        if _SWITCHES[streamed]:
            head = await unless_gone(request.receive, head_of(stream))
            if head.streamed:
                return CompletionResponse(stream, completion_id, head, ids=True)
        return await unless_gone(request.receive, self._whole(stream, completion_id))

    async def cancel(self, request: Request) -> Response:
        """``POST /v1/chat/completions/{id}/cancel``; as the Responses API does, it may be repeated,
        and is refused for an answer that has ended otherwise."""
        caller, completion_id = self._keys.caller(request), request.path_params["completion"]
        stream = await self._found(request, caller, completion_id)
        status = await unless_gone(
            request.receive, stream.cancel(wait=_STOPPING, reason="cancelled by its client")
        )
        if status in (Status.FINISHED, Status.FAILED):
            said = "completed" if status is Status.FINISHED else "failed"
            raise GatewayError(
                400, "completion_ended", f"a {said} completion cannot be cancelled any more"
            )
        said = "cancelling" if status is Status.ACTIVE else "cancelled"
        answer = {"id": completion_id, "object": "chat.completion", "status": said}
        return Response(msgspec.json.encode(answer), media_type="application/json")

    # Asking the upstream.

    async def _pass_on(self, request: Request, caller: Caller, body: bytes) -> Response:
        """Ask for a whole answer, for this client alone."""
        give_back = self._places.take(caller.key_hash)
        if give_back is None:
            raise too_many(self._limits.max_answers_per_key)
        try:
            async with self._upstream.open(
                "POST", _PATH, caller.headers, content=body, query=request.url.query
            ) as answer:
                said = await whole_body(answer, self._hub.config.max_stream_bytes)
                return Response(said, answer.status, dict(headers_of(answer)))
        finally:
            give_back()

    async def _find_or_begin(
        self, request: Request, caller: Caller, asked: AskedCompletion
    ) -> tuple[LiveStream, Asking | None]:
        """The answer, and what asks for it if that has begun here and now."""
        session_id = session_of(caller, asked.completion_id)
        if asked.known:
            stream = await self._found(request, caller, asked.completion_id)
            self._check_same(asked, await stream.info())
        replaces = ""
        for _ in range(_ATTEMPTS):
            give_back = self._places.take(caller.key_hash)
            if give_back is None:
                # To follow what is under way takes none.
                found = await self._hub.get(session_id) if asked.kept else None
                if found is None or self._begins_anew(await found.info()):
                    raise too_many(self._limits.max_answers_per_key)
                self._check_same(asked, await found.info())
                return found, None
            try:
                begun = await self._begin(request, caller, asked, session_id, replaces, give_back)
            except SessionNotFound:
                replaces = ""
                continue
            if not isinstance(begun, LiveStream):
                return begun
            try:
                info = await begun.info()
            except SessionNotFound:
                replaces = ""
                continue
            self._check_same(asked, info)
            if not self._begins_anew(info):
                return begun, None
            replaces = info.generation
        raise GatewayError(503, "answer_lost", "this answer was lost again and again")

    async def _begin(
        self,
        request: Request,
        caller: Caller,
        asked: AskedCompletion,
        session_id: str,
        replaces: str,
        give_back: Callable[[], None],
    ) -> tuple[LiveStream, Asking] | LiveStream:
        """What asks the upstream now; or the answer, where it is another's or has ended.

        :raises SessionNotFound: what was to be replaced is not there any more.
        """
        # An id of this gateway's means nothing to another one behind it.
        headers = [pair for pair in caller.headers if pair[0] != COMPLETION_ID]
        asking = Asking(
            lambda: self._upstream.open(
                "POST", _PATH, headers, content=asked.body, query=request.url.query
            ),
            streamed=asked.streamed,
            most=self._hub.config.max_stream_bytes,
            on_over=give_back,
        )
        if asked.streamed and not asked.kept and self._store_answers:
            # Nobody else can be asking for this answer, so that it is asked for once all the same.
            asking.ask_ahead()
        try:
            stream, created = await self._hub.register(
                session_id,
                takeover="restart",
                owner=_OWNER,
                # For whoever looks at the sessions.
                metadata={"gateway": "chat.completion", "model": asked.model},
                request=asked.fingerprint,
                # One without a key has a name of its own.
                replaces=replaces if asked.kept else None,
            )
        except BaseException as error:
            # Where a store is away, each attempt would be paid for.
            self._store_answers = not isinstance(error, StoreUnavailable)
            await asking.drop()
            raise
        self._store_answers = True
        if not created:
            await asking.drop()
            return stream
        stream.spawn_body(asking)
        return stream, asking

    def _begins_anew(self, info: SessionInfo) -> bool:
        """Whether the request for an answer that stands so asks the upstream again. Of one that has
        failed its client knows, and means that by asking."""
        return info.status is Status.FAILED or (info.status is Status.LOST and self._retry_lost)

    def _check_same(self, asked: AskedCompletion, info: SessionInfo) -> None:
        """:raises GatewayError: the answer is to another request."""
        if info.request != asked.fingerprint:
            raise GatewayError(
                409,
                "idempotency_key_reuse",
                "this Idempotency-Key was used for another request: a key stands for one body",
                headers=NO_RETRY,
            )

    # Following an answer.

    async def _found(self, request: Request, caller: Caller, completion_id: str) -> LiveStream:
        """:raises GatewayError: there is no such answer of this key's."""
        stream = None
        if _ID.fullmatch(completion_id):
            session_id = session_of(caller, completion_id)
            stream = await self._hub.get(session_id, after=held_cursor(request))
        if stream is None:
            message = f"no chat completion {completion_id!r:.100} found: never begun, or expired"
            raise GatewayError(404, "completion_not_found", message)
        return stream

    async def _begins(self, stream: LiveStream, asking: Asking | None) -> Head:
        """With what the upstream begins its answer.

        :raises GatewayError: there is no answer.
        """
        if asking is not None:
            while not asking.begun.done():
                await asyncio.wait([asking.begun], timeout=_UNHEARD)
                # A hub that closes, and a cancel, may end what has not begun to ask.
                if not asking.begun.done() and await stream.done():
                    asking.finish()
            if (head := asking.begun.result()) is not None:
                return head
        return await head_of(stream)

    async def _whole(self, stream: LiveStream, completion_id: str) -> Response:
        head, body = await whole_of(stream)
        return Response(body, head.status, {**dict(head.headers), COMPLETION_ID: completion_id})

    async def _leave(self, stream: LiveStream, asking: Asking, asked: AskedCompletion) -> None:
        """The client that has asked hears no more: stop what is for it alone."""
        if asking.over:
            # Or it could not begin to publish, because the hub closes.
            await asking.drop()
            return
        if asked.kept or self._detach:
            return
        try:
            await stream.cancel(reason="its client has left")
        except HubClosed:
            # Which stops all that is under way.
            return
        except StreamHubError as error:
            logger.warning("an answer without its client is stopped here alone: %s", error)
            asking.stop()
