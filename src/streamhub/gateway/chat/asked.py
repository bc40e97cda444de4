"""What a request for a chat completion asks for, and under which name."""

from __future__ import annotations

from hashlib import sha256
from typing import Any
from uuid import uuid4

import msgspec
from starlette.requests import Request

from ..errors import GatewayError, invalid
from ..keys import Caller

__all__ = ["COMPLETION_ID", "PREFIX", "AskedCompletion", "asked_completion"]

#: The header by which clients learn the id of an answer, and follow it with the same request.
COMPLETION_ID = "x-streamhub-completion-id"
#: What the ids of this gateway begin with: those that upstreams give are not unique everywhere, and
#: come too late.
PREFIX = "chatcmpl-hub-"
_LONGEST_KEY = 255
# What is kept of a model's name, in characters.
_LONGEST_NAME = 200


class AskedCompletion(msgspec.Struct, frozen=True):
    completion_id: str
    model: str | None
    #: Whether events are asked for.
    streamed: bool
    #: Whether the client may come again for the same answer, so that its leaving is no end of it.
    kept: bool
    #: Whether the answer must be there already.
    known: bool
    #: What tells this request from another one under the same key.
    fingerprint: str
    body: bytes


def asked_completion(request: Request, caller: Caller, body: bytes) -> AskedCompletion:
    """:raises GatewayError: it is no request for a completion."""
    asked = _object(body)
    streamed = asked.get("stream")
    if streamed is not None and not isinstance(streamed, bool):
        message = f"stream must be true or false, not {streamed!r:.80}"
        raise invalid(message, param="stream", code="invalid_type")
    model = asked.get("model")
    key = request.headers.get("idempotency-key")
    given = request.headers.get(COMPLETION_ID)
    if given is not None:
        completion_id = given
        if not given.startswith(PREFIX):
            raise invalid(f"{COMPLETION_ID} must be an id of this gateway, not {given!r:.80}")
    elif key is not None:
        if not 1 <= len(key) <= _LONGEST_KEY:
            raise invalid(
                f"Idempotency-Key must have 1 to {_LONGEST_KEY} characters, not {len(key)}"
            )
        completion_id = PREFIX + sha256(f"{caller.key_hash}\0{key}".encode()).hexdigest()[:32]
    else:
        completion_id = PREFIX + uuid4().hex
    # Of what it says, not of how it is written: who asks again may order its fields otherwise.
    said = msgspec.json.encode(asked, order="deterministic")
    return AskedCompletion(
        completion_id=completion_id,
        model=model[:_LONGEST_NAME] if isinstance(model, str) else None,
        streamed=bool(streamed),
        kept=key is not None or given is not None,
        known=given is not None,
        fingerprint=sha256(said).hexdigest(),
        body=body,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GatewayError(400, "invalid_json", f"the body must be JSON: {error}") from None
    if not isinstance(asked, dict):
        raise GatewayError(400, "invalid_json", "the body must be a JSON object")
    return asked
