"""What a client of AG-UI asks: a run, and from where on it wants its events."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec
from starlette.requests import Request

from ...formats.agui import EventId
from ...wording import short
from ..json_bodies import json_object, raw_body
from ..problems import BadRequest, Problem

__all__ = ["Asked", "after_of", "asked_of", "lines_of", "run_of"]

# In bytes: a claim keeps no more than 512 of what it was made for, digest included.
_LONGEST_THREAD = 256


@dataclass(frozen=True)
class Asked:
    run: str
    thread: str
    #: The input of the agent, ``RunAgentInput``, as it was posted.
    body: dict[str, Any]
    #: What tells one input from another, and after a colon the thread.
    key: str


async def asked_of(request: Request) -> Asked:
    """:raises BadRequest: the body is no input of an agent."""
    body = json_object(await raw_body(request))
    run, thread = request.headers.get("x-run-id") or body.get("runId"), body.get("threadId")
    if not isinstance(run, str) or not run:
        raise _invalid(f"runId must be some text, not {short(run)}")
    if not isinstance(thread, str) or len(thread.encode(errors="replace")) > _LONGEST_THREAD:
        raise _invalid(
            f"threadId must be text of at most {_LONGEST_THREAD} bytes, not {short(thread)}"
        )
    if not isinstance(body.get("messages"), list):
        raise _invalid(f"messages must be an array, not {short(body.get('messages'))}")
    digest = sha256(msgspec.json.encode(body, order="sorted")).hexdigest()
    return Asked(run, thread, body, f"{digest}:{thread}")


def run_of(request: Request) -> str:
    """The run that is to be followed.

    :raises BadRequest: none is named.
    """
    run = request.headers.get("x-run-id") or request.query_params.get("runId")
    if not run:
        detail = "runId must name a run, in the query or as X-Run-Id"
        raise BadRequest(Problem(400, "invalid_parameter", detail))
    return run


def after_of(request: Request) -> EventId | None:
    """The newest event that the client has; None where it has none, which ``?offset=-1`` says, too.

    :raises BadRequest: it is the name of no event.
    """
    name = request.headers.get("last-event-id") or request.query_params.get("offset") or "-1"
    if name == "-1":
        return None
    try:
        return EventId.parse(name)
    except ValueError as error:
        raise BadRequest(Problem(400, "invalid_cursor", str(error))) from None


def lines_of(request: Request) -> bool:
    """Whether it wants a JSON object a line, and no Server-Sent Events."""
    wanted = request.query_params.get("format") or request.headers.get("accept", "")
    return "ndjson" in wanted


def _invalid(detail: str) -> BadRequest:
    return BadRequest(Problem(400, "invalid_body", detail))
