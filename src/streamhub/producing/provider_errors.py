"""What the errors of a provider's client mean: told by their facts, so that no client is imported.

Every client says the same things in its own classes; they agree in what they are named, in the
status of the response, and in the code that the provider gave.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from ..errors import FailureKind, ProviderFailed

__all__ = ["as_provider_failed", "kind_of", "provider_failed", "said_to_fail"]

# The packages whose errors are read so, wherever they are raised.
_CLIENTS = ("anthropic.", "google.genai.", "groq.", "litellm.", "mistralai.", "openai.")
# Those that the clients send their requests with.
_TRANSPORTS = frozenset(
    {"aiohttp", "anyio", "h11", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3"}
)

_LONGEST = 1000
_NO_CONNECTION = re.compile(
    "Connect|Timeout|Disconnected|Transport|Network|Protocol|Read|Payload|ClosedResource"
)
# As the classes of errors and the codes of providers have them, in this order.
_WORDS: tuple[tuple[str, FailureKind], ...] = (
    ("context_?length|context_?window|string_above_max_length|request_too_large", "context_length"),
    ("content_?(filter|policy|management)|prohibited|policy_viol|bio_policy", "content_filter"),
    ("invalid_prompt", "content_filter"),
    ("authentication|permission|unauthenticated|api_?key|unauthorized", "authentication"),
    ("rate_?limit|resource_exhausted|insufficient_quota|too_many_requests", "rate_limit"),
    ("overloaded|unavailable", "overloaded"),
    ("api_?connection|timeout", "connection"),
    ("invalid_?request|invalid_?argument|bad_?request|not_?found|unprocessable", "invalid_request"),
)
# No provider has a code for this in all cases.
_TOO_LONG = re.compile(
    r"context.(length|window|limit|size)|maximum context|prompt is too long|input token count"
    r"|input[^.]{0,40}(too long|too large|exceed)|too many (input )?tokens|reduce the length",
    re.IGNORECASE,
)
_STATUSES: Mapping[int, FailureKind] = {
    401: "authentication", 403: "authentication", 408: "connection", 413: "context_length",
    429: "rate_limit", 503: "overloaded", 529: "overloaded",
}  # fmt: skip
_SECRET = re.compile(
    r"""\b(?:sk|pk|gsk|xai|rk)-[\w*.…-]+|\b(?:gsk|hf|r8)_\w{8,}|\bAIza[\w-]+|\bBearer\s+\S+"""
    r"""|(?<=key=)[^&\s'"]+|(?<=://)[^\s/@]+(?=@)""",
    re.IGNORECASE,
)


def as_provider_failed(error: BaseException) -> BaseException:
    """The failure of the provider that ``error`` is, or ``error``, where it is of something else.

    It is told by the package that has raised it: what an application itself raises stays as it is.
    """
    package = type(error).__module__.partition(".")[0]
    known = _is_of_client(type(error)) or (package in _TRANSPORTS and _is_of_transport(error))
    if not known or isinstance(error, ProviderFailed) or not isinstance(error, Exception):
        return error
    return provider_failed(error)


def provider_failed(error: Exception) -> ProviderFailed:
    """What ``error``, which the client of a provider has raised, is in words of streamhub."""
    # LiteLLM has the failure of an answer that had begun in another one.
    original = getattr(error, "original_exception", None)
    error = original if isinstance(original, Exception) else error
    message = _message_of(error)
    kind = kind_of(*_words_of(error), status=_status_of(error), message=message)
    if kind == "provider" and _is_of_transport(error):
        kind = "connection"
    message = _without_secrets(message, error)
    return ProviderFailed(kind, _told(kind, message), retry_after=_retry_after(error))


def said_to_fail(*words: str | None, status: int | None = None, message: str) -> ProviderFailed:
    """The failure that a provider tells of in the middle of its answer; see :func:`kind_of`."""
    kind = kind_of(*words, status=status, message=message)
    return ProviderFailed(kind, _told(kind, message))


def kind_of(*words: str | None, status: int | None = None, message: str = "") -> FailureKind:
    """What a provider means by these codes, this status of a response, and this message."""
    said = " ".join(_snake(word) for word in words if word)
    for pattern, kind in _WORDS:
        if re.search(pattern, said):
            if kind == "invalid_request":
                break
            return kind
    if status in (400, 413, 422, None) and _TOO_LONG.search(message):
        return "context_length"
    if status is not None and status in _STATUSES:
        return _STATUSES[status]
    if re.search(_WORDS[-1][0], said) or (status is not None and 400 <= status < 500):
        return "invalid_request"
    return "provider"


def _is_of_client(kind: type) -> bool:
    return f"{kind.__module__}.".startswith(_CLIENTS)


def _is_of_transport(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return any(
        kind.__module__.partition(".")[0] in _TRANSPORTS and _NO_CONNECTION.search(kind.__name__)
        for kind in type(error).__mro__
    ) or bool(_NO_CONNECTION.search(type(error).__name__))


def _words_of(error: Exception) -> Iterator[str]:
    """Codes that the provider gave, and the classes of the error."""
    for facts in _facts_of(error):
        for name in ("code", "type", "status", "reason"):
            if isinstance(word := facts.get(name), str):
                yield word
    for kind in type(error).__mro__:
        if _is_of_client(kind):
            yield kind.__name__


def _facts_of(error: Exception) -> Iterator[Mapping[str, Any]]:
    """The error itself, and what the response said: at most an ``error`` in a body."""
    yield {name: getattr(error, name, None) for name in ("code", "type", "status")}
    for name in ("body", "details"):
        said: Any = getattr(error, name, None)
        for _ in range(2):
            if isinstance(said, Mapping):
                yield said
                details = said.get("details")
                if isinstance(details, list):
                    yield from (one for one in details if isinstance(one, Mapping))
                said = said.get("error")


def _message_of(error: Exception) -> str:
    for facts in reversed([*_facts_of(error)]):
        if isinstance(message := facts.get("message"), str) and message:
            return message
    message = getattr(error, "message", None)
    if isinstance(message, str) and message:
        return message
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name


def _status_of(error: Exception) -> int | None:
    for one in (error, getattr(error, "response", None)):
        for name in ("status_code", "code", "status"):
            status = getattr(one, name, None)
            if isinstance(status, int) and status >= 400:
                return status
    return None


def _told(kind: FailureKind, message: str) -> str:
    if kind == "authentication":
        # Of all messages, these quote what was given as the key.
        message = "the provider refuses the key, or what it is used for"
    return _SECRET.sub("…", message)[:_LONGEST]


def _without_secrets(message: str, error: Exception) -> str:
    """``message`` without the key that the request was sent with."""
    request = None
    with suppress(Exception):  # as httpx, where a response has no request
        request = getattr(error, "request", None) or error.response.request  # type: ignore[attr-defined]
    headers = getattr(request, "headers", None)
    for name in ("authorization", "x-api-key", "x-goog-api-key", "api-key"):
        with suppress(Exception):
            for secret in str(headers[name]).split():  # type: ignore[index]
                if len(secret) >= 8:
                    message = message.replace(secret, "…")
    return message


def _retry_after(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None)
    with suppress(Exception):
        seconds = float(headers["retry-after"])  # type: ignore[index]
        if 0 <= seconds < 1e9:
            return seconds
    return None


def _snake(word: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).lower().replace("-", "_").replace(" ", "_")
