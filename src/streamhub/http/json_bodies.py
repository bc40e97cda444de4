"""The body of a request, as the JSON object that it has to be."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request

from ..wording import short
from .problems import BadRequest, Problem

__all__ = ["json_object", "raw_body"]

_LARGEST_BODY = 16 * 1024 * 1024


async def raw_body(request: Request) -> bytes:
    """:raises BadRequest: it is too large."""
    pieces = bytearray()
    async for piece in request.stream():
        pieces += piece
        if len(pieces) > _LARGEST_BODY:
            detail = f"the body must be at most {_LARGEST_BODY:,} bytes long"
            raise BadRequest(Problem(413, "body_too_large", detail))
    return bytes(pieces)


def json_object(raw: bytes) -> dict[str, Any]:
    """:raises BadRequest: it is no JSON object."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(Problem(400, "invalid_body", f"the body must be JSON: {error}")) from None
    if not isinstance(body, dict):
        detail = f"the body must be a JSON object, not {short(body)}"
        raise BadRequest(Problem(400, "invalid_body", detail))
    return body
