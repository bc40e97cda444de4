"""What a request is answered with instead of what it asked for, in the shape that the SDKs parse:
``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from ..errors import CursorExpired, HubClosed, SessionNotFound, StoreUnavailable, StreamHubError

__all__ = [
    "NO_RETRY",
    "GatewayError",
    "UpstreamFailed",
    "UpstreamRefused",
    "error_body",
    "error_of",
    "invalid",
    "response_of",
]

#: SDKs ask again by themselves upon 409 and any 5xx, unless they are told that it is of no use.
NO_RETRY = {"x-should-retry": "false"}

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error_body(status: int, code: str | None, message: str, param: str | None = None) -> bytes:
    """An error as JSON, as the official SDKs read it."""
    usual = "invalid_request_error" if status < 500 else "server_error"
    kind = _TYPES.get(status, usual)
    error = {"message": message, "type": kind, "param": param, "code": code}
    return msgspec.json.encode({"error": error})


class GatewayError(Exception):
    """A request that is not served, with what its client is told.

    :param status: of the answer over HTTP.
    :param code: what programs tell it by.
    :param param: the parameter of the request that is wrong, if one is.
    :param headers: of the answer, such as ``retry-after``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status: int = status
        self.code: str = code
        self.message: str = message
        self.param: str | None = param
        self.headers: dict[str, str] = dict(headers or {})
        super().__init__(message)

    @property
    def body(self) -> bytes:
        return error_body(self.status, self.code, self.message, self.param)


class UpstreamFailed(GatewayError):
    """The upstream is away, too slow, or answers what no API of this kind does; or it has broken
    its answer off."""


class UpstreamRefused(GatewayError):
    """The upstream has answered with an error, which is passed on as it is."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        code, message, shaped = _told(status, body)
        super().__init__(status, code, message, headers=headers)
        self._body = body if shaped else error_body(status, code, message)

    @property
    def body(self) -> bytes:
        return self._body


def _told(status: int, body: bytes) -> tuple[str, str, bool]:
    """Code and message of an upstream's error, and whether it has the shape of one."""
    usual = "upstream_error"
    try:
        error = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        said = body[:500].decode(errors="replace").strip()
        return usual, f"the upstream answered {status}: {said}", False
    if isinstance(error, dict):
        return str(error.get("code") or error.get("type") or usual), str(error.get("message")), True
    return usual, str(error), False


def invalid(message: str, *, param: str | None = None, code: str = "invalid_value") -> GatewayError:
    """A request that is wrong in itself: 400."""
    return GatewayError(400, code, message, param=param)


def error_of(error: StreamHubError) -> GatewayError:
    """What a client is told where the hub or its store cannot serve it."""
    if isinstance(error, StoreUnavailable):
        message = "the gateway cannot reach its store; try again"
        return GatewayError(503, "store_unavailable", message, headers={"retry-after": "1"})
    if isinstance(error, HubClosed):
        message = "the gateway is shutting down; try again"
        return GatewayError(503, "shutting_down", message, headers={"retry-after": "1"})
    if isinstance(error, SessionNotFound | CursorExpired):
        return GatewayError(404, "not_found", "the answer is not there any more")
    return GatewayError(500, "gateway_error", f"the gateway failed: {type(error).__name__}")


def response_of(error: GatewayError) -> Response:
    headers = {"cache-control": "no-store", **error.headers}
    return Response(error.body, error.status, headers=headers, media_type="application/json")
