"""What the errors of redis-py mean to a user of streamhub."""

from __future__ import annotations

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    InvalidResponse,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from ....errors import (
    SessionCorrupted,
    StoreAuthenticationFailed,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnsupported,
    StreamHubError,
)

__all__ = ["explained", "is_cross_slot", "is_last", "is_read_only"]


def explained(
    error: BaseException, store: str, timeout: float, session_id: str | None = None
) -> StreamHubError:
    """The error to raise for ``error``; one of ours stays what it is.

    :param store: what to call the store, without any password.
    :param timeout: how long it was waited for, in seconds.
    """
    if isinstance(error, StreamHubError):
        return error
    mapped = _mapped(error, store, timeout, session_id)
    mapped.__cause__ = error
    return mapped


def is_read_only(answer: object) -> bool:
    """Whether the server refused a write because it is a replica now."""
    return isinstance(answer, ReadOnlyError) or (
        isinstance(answer, ResponseError) and "READONLY" in str(answer)
    )


def is_cross_slot(answer: object) -> bool:
    """Whether a cluster refused a command for its keys, which are not of one slot."""
    return isinstance(answer, ResponseError) and "hash to the same slot" in str(answer)


def is_last(answer: object) -> bool:
    """Whether the server closes the connection with this answer: it was sent what it refuses."""
    return isinstance(answer, ResponseError) and "Protocol error" in str(answer)


def _mapped(
    error: BaseException, store: str, timeout: float, session_id: str | None
) -> StreamHubError:
    text = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        return StoreUnavailable(store, f"did not answer within {timeout:g} s")
    if isinstance(error, InvalidResponse):
        return StoreUnsupported(store, f"does not speak the Redis protocol: {text}")
    if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError) or (
        any(sign in text for sign in ("NOAUTH", "WRONGPASS", "The user executing the script"))
    ):
        return StoreAuthenticationFailed(store, f"refused the user or its rights: {text}")
    if not isinstance(error, ResponseError):
        return StoreUnavailable(store, f"cannot be reached: {text}")
    if is_read_only(error):
        return StoreReadOnly(store, f"takes no writes: {text}")
    if "unknown command" in text:
        return StoreUnsupported(store, f"lacks a command that is needed: {text}")
    if isinstance(error, TryAgainError):
        return StoreUnavailable(store, f"is moving a slot to another node: {text}")
    if isinstance(error, ClusterDownError):
        return StoreUnavailable(store, f"is a cluster that is down: {text}")
    if isinstance(error, AskError):
        return StoreUnsupported(
            store, "is one node of a cluster, which is named redis+cluster://host:port"
        )
    if "cluster support disabled" in text:
        return StoreUnsupported(store, "is no cluster, but a server of its own: redis://host:port")
    # A key of another type, or a field that a script cannot calculate with.
    if session_id is not None and any(
        sign in text for sign in ("WRONGTYPE", "damaged record", "attempt to")
    ):
        return SessionCorrupted(session_id, text)
    return StoreUnavailable(store, f"refused a command: {text}")
