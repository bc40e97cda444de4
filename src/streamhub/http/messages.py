"""A message to a producer, as a request brings it."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from .problems import BadRequest, Problem

__all__ = ["Sent", "sent_message"]

# What escapes may make of a byte: JSON writes a control character as ``\u0000``.
_LONGEST_ESCAPE = 6
# For all but the message itself.
_AROUND = 4096


class Sent(msgspec.Struct):
    """The body of a request."""

    data: str
    event: str | None = None
    key: str | None = None


async def sent_message(request: Request, limit: int) -> Sent:
    """The message; its key stands in the body, or in the header ``Idempotency-Key``.

    :param limit: how many bytes it may have.
    :raises BadRequest: the body is too large, or no JSON of this form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Also so that no page of another site can send one without being asked for.
        detail = "the body must be application/json"
        raise BadRequest(Problem(415, "unsupported_media_type", detail))
    largest = _LONGEST_ESCAPE * limit + _AROUND
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > largest:
            detail = f"the body must be at most {largest:,} bytes long"
            raise BadRequest(Problem(413, "body_too_large", detail))
    try:
        sent = msgspec.json.decode(bytes(body), type=Sent)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = (
            'the body must be a JSON object with "data", and maybe "event" and "key", each a '
            f"string: {error}"
        )
        raise BadRequest(Problem(400, "invalid_body", detail)) from None
    if sent.key is None:
        sent.key = request.headers.get("idempotency-key") or None
    return sent
