"""Whose a request is: known by the hash of its key, and by nothing that could be used as one."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256

from starlette.requests import HTTPConnection

from .errors import GatewayError

__all__ = ["OWNER", "Caller", "Keys", "session_below", "session_of"]

#: The owner of all sessions of gateways.
OWNER = "gateway"

# What belongs to one connection, or is said anew by whoever sends the request on.
_NOT_SENT_ON = frozenset(
    {
        "accept-encoding", "authorization", "connection", "content-length", "cookie", "expect",
        "host", "keep-alive", "last-event-id", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
# Where clients of some providers put their key, and what else tells whose a request is.
_KEYS = (
    "authorization", "api-key", "x-api-key", "x-goog-api-key", "x-litellm-api-key",
    "ocp-apim-subscription-key",
)  # fmt: skip
_ACCOUNTS = ("openai-organization", "openai-project")


@dataclass(frozen=True)
class Caller:
    """Who asks, and what is sent upstream in their name."""

    #: Of the key: what the ids of their answers stand under.
    key_hash: str
    #: The headers of their request that go upstream, the key among them.
    headers: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"<Caller {self.key_hash}>"


class Keys:
    """
    :param api_keys: the gateway's own, of which each client sends one; None to take every client,
        and leave it to the upstream whether their key is good.
    :param upstream_key: what goes upstream in the place of the gateway's own.
    """

    def __init__(self, api_keys: str | Collection[str] | None, upstream_key: str | None) -> None:
        given = [api_keys] if isinstance(api_keys, str) else api_keys
        if given is not None and not (
            given and all(isinstance(one, str) and one.strip() for one in given)
        ):
            raise ValueError("api_key must be a key, or several, and none of them empty")
        if upstream_key is not None and not upstream_key.strip():
            raise ValueError("upstream_key must not be empty")
        if upstream_key is not None and not (upstream_key.isascii() and upstream_key.isprintable()):
            raise ValueError("upstream_key must be plain ASCII: it is sent as a header")
        if upstream_key is not None and given is None:
            raise ValueError(
                "upstream_key without api_key lets anybody ask at your expense: give an api_key, "
                "which clients then have to send"
            )
        self._given = None if given is None else [one.encode() for one in given]
        self._upstream_key = upstream_key

    @property
    def own(self) -> tuple[tuple[str, str], ...] | None:
        """The headers with which the gateway asks the upstream by itself, which may be none; None
        where the keys are its clients'."""
        return None if self._given is None else self._bearer()

    def caller(self, request: HTTPConnection) -> Caller:
        """
        :raises GatewayError: the gateway has keys of its own, and this is none of them.
        """
        headers = request.headers
        # Whoever sends a header says by another which are meant for this connection alone.
        here = {one.strip().lower() for one in ",".join(headers.getlist("connection")).split(",")}
        kept_back = {*_NOT_SENT_ON, *_KEYS, *here}
        sent_on = [(k, v) for k, v in headers.items() if k not in kept_back]
        if self._given is not None:
            kind, _, key = headers.get("authorization", "").partition(" ")
            key = key.strip() if kind.lower() == "bearer" else headers.get("api-key", "")
            given = key.encode("latin-1", "replace")
            # All of them, so that the time it takes tells nothing.
            if sum(hmac.compare_digest(given, one) for one in self._given) == 0:
                message = "no key of this gateway was sent: Authorization: Bearer …"
                raise GatewayError(
                    401, "invalid_api_key", message, headers={"www-authenticate": "Bearer"}
                )
            whose = [key]
            sent_on += self._bearer()
        else:
            stated = [(name, headers[name]) for name in _KEYS if name in headers]
            whose = [value for _, value in stated]
            sent_on += stated
        whose += [headers.get(name, "") for name in _ACCOUNTS]
        named = sha256("\0".join(whose).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return Caller(named, tuple(sent_on))

    def _bearer(self) -> tuple[tuple[str, str], ...]:
        key = self._upstream_key
        return () if key is None else (("authorization", f"Bearer {key}"),)


def session_of(caller: Caller, answer_id: str) -> str:
    """The session of an answer: under the hash of the key that asked for it, so that it is not
    there for anybody else."""
    return f"{OWNER}:{caller.key_hash}:{answer_id}"


def session_below(session_id: str, answer_id: str) -> str:
    """The session of another answer of whoever has ``session_id``."""
    return f"{session_id.rpartition(':')[0]}:{answer_id}"
