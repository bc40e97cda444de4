"""The application's ``answer``, run in the stream that was claimed for it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
from starlette.requests import Request

from ...errors import ChunkTooLarge, StreamHubError
from ...hub import Source
from ...parts import MESSAGE_EVENT
from ...producing import sources
from ...stream import LiveStream

__all__ = ["Answer", "Answering", "Call"]

logger: logging.Logger = logging.getLogger("streamhub")

#: Makes what ``hub.run`` draws the answer from; of the body that ``useChat`` posts (``id``,
#: ``messages``, ``trigger``, ``messageId``, and what else the page adds to it), and, if it takes
#: two, of the request.
Answer = Callable[..., Source | Awaitable[Source]]

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_REST = inspect.Parameter.VAR_POSITIONAL


class Call:
    """How ``answer`` is called: with the body, with the request if it takes that, and with what
    else it ``wants``, by name.

    :raises TypeError: it is no function, or takes no body.
    """

    def __init__(self, answer: Answer, name: str = "answer") -> None:
        self._answer = answer
        parameters = _parameters(answer, name)
        placed = [one for one in parameters if one.kind in _BY_PLACE]
        if parameters and not any(one.kind in (*_BY_PLACE, _REST) for one in parameters):
            raise TypeError(f"{name} must take the body by its place, which {answer!r} does not")
        self._request_second = len(placed) > 1 and _is_request(placed[1])
        rest = parameters[2:] if self._request_second else parameters[1:]
        rest = [one for one in rest if one.kind not in (_REST, inspect.Parameter.VAR_KEYWORD)]
        self._request_by_name = any(one.name == "request" for one in rest)
        #: What only somebody else can give it.
        self.wants: list[inspect.Parameter] = [one for one in rest if one.name != "request"]

    def __call__(self, body: dict[str, Any], request: Request, given: dict[str, Any]) -> Any:
        if self._request_by_name:
            given = {**given, "request": request}
        if self._request_second:
            return self._answer(body, request, **given)
        return self._answer(body, **given)


def _parameters(answer: Answer, name: str) -> list[inspect.Parameter]:
    """None of what cannot be looked into, as of a function of a C library."""
    if not callable(answer):
        raise TypeError(f"{name} must be a function of the body, not {type(answer).__name__}")
    try:
        signature = inspect.signature(answer)
    except ValueError:
        return []
    names = getattr(inspect.unwrap(answer), "__globals__", {})
    found = [_evaluated(parameter, names) for parameter in signature.parameters.values()]
    if not found:
        raise TypeError(f"{name} must take the body, and {answer!r} takes nothing")
    return found


def _evaluated(parameter: inspect.Parameter, names: dict[str, Any]) -> inspect.Parameter:
    """Its annotation stays text where the name is there for type checkers alone."""
    if isinstance(parameter.annotation, str):
        with suppress(Exception):
            return parameter.replace(annotation=eval(parameter.annotation, names))
    return parameter


def _is_request(parameter: inspect.Parameter) -> bool:
    unmarked = parameter.annotation in (inspect.Parameter.empty, Any)
    return (
        parameter.name == "request"
        or parameter.annotation is Request
        or (unmarked and parameter.default is inspect.Parameter.empty)
    )


class Answering:
    """One answer to a question. ``produce`` is what ``hub.run`` takes: whoever has no claim never
    calls ``answer``.

    :param make: calls the application.
    :param message: of the assistant's, in which the answer goes on.
    """

    def __init__(self, make: Callable[[], Any], message: dict[str, Any] | None = None) -> None:
        self._make = make
        self._message = message
        self._made = asyncio.Event()
        self._error: Exception | None = None
        self._unheard = False

    async def produce(self, stream: LiveStream) -> None:
        try:
            await self._begin(stream)
            source = self._make()
            if inspect.isawaitable(source):
                source = await source
            sources.check(source)
        except Exception as error:
            # Before the end is told: who waits may hear of that first.
            self._error = error
            if self._unheard:
                self._log(stream)
            with suppress(StreamHubError):
                await stream.fail(error)
            return
        finally:
            self._made.set()
        await sources.feed(source, stream)

    async def made(self, stream: LiveStream) -> None:
        """Wait until ``answer`` has said what the answer is drawn from, or until nothing will come
        of that.

        :raises Exception: what it has raised.
        """
        made = asyncio.ensure_future(self._made.wait())
        # A hub that closes may cancel it before it has begun.
        over = asyncio.ensure_future(stream.wait())
        try:
            await asyncio.wait({made, over}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._unheard = True
            if self._error is not None:
                self._log(stream)
            raise
        finally:
            made.cancel()
            over.cancel()
            await asyncio.gather(made, over, return_exceptions=True)
        self._unheard = True
        if self._error is not None:
            raise self._error

    async def _begin(self, stream: LiveStream) -> None:
        """Say which message the answer goes on in, for all who read it."""
        message = self._message
        if message is None:
            return
        facts = {name: message.get(name) for name in ("id", "metadata", "parts")}
        try:
            await stream.publish(msgspec.json.encode(facts).decode(), event=MESSAGE_EVENT)
        except ChunkTooLarge as error:
            logger.warning("who resumes the answer misses what its message held before: %s", error)
            id_alone = msgspec.json.encode({"id": message["id"]}).decode()
            await stream.publish(id_alone, event=MESSAGE_EVENT)

    def _log(self, stream: LiveStream) -> None:
        logger.error("the answer of session %r failed", stream.session_id, exc_info=self._error)
