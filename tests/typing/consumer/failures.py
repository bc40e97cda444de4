"""Catch what goes wrong, and use its facts."""

from __future__ import annotations

from typing import assert_type

from streamhub import (
    ChunkTooLarge,
    Cursor,
    CursorExpired,
    EndFenced,
    HubClosed,
    HubInOtherLoop,
    HubInOtherProcess,
    InboxFull,
    InvalidChunk,
    InvalidCursor,
    InvalidMessage,
    InvalidMetadata,
    InvalidPart,
    InvalidSessionId,
    InvalidStoreUrl,
    LiveStream,
    MessageTooLarge,
    NoInbox,
    NotProducer,
    NotSupervised,
    ProducerFailed,
    ProducerFenced,
    ProducerLost,
    ProviderFailed,
    SessionCorrupted,
    SessionNotFound,
    Status,
    StoreAuthenticationFailed,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnsupported,
    StreamClosed,
    StreamHubError,
    StreamReplaced,
    StreamTooLarge,
)
from streamhub.errors import FailureKind, failure_kind


async def read(stream: LiveStream) -> str:
    try:
        return await stream.text()
    except ProducerFailed as failed:
        assert_type(failed.kind, FailureKind | None)
        return failed.error
    except ProducerLost as lost:
        assert_type(lost.cursor, Cursor | None)
        return lost.generation
    except (StreamReplaced, CursorExpired) as gone:
        assert_type(gone.cursor, Cursor)
        return gone.session_id
    except SessionNotFound as missing:
        return missing.session_id
    except (StoreAuthenticationFailed, StoreReadOnly, StoreUnsupported) as refused:
        return refused.reason
    except StoreUnavailable as away:
        return away.store


async def publish(stream: LiveStream, text: str) -> str | int | None:
    try:
        await stream.publish(text)
    except (ChunkTooLarge, StreamTooLarge, MessageTooLarge) as large:
        assert_type((large.size, large.limit), tuple[int, int])
    except ProducerFenced as fenced:
        return fenced.current
    except StreamClosed as closed:
        assert_type(closed.status, Status)
    except InboxFull as full:
        return full.max_messages
    except (InvalidChunk, InvalidMessage, InvalidMetadata, NoInbox, NotSupervised) as invalid:
        return invalid.reason
    except (InvalidCursor, InvalidSessionId, InvalidStoreUrl, SessionCorrupted) as invalid:
        return invalid.reason
    except NotProducer as reader:
        return reader.action
    except EndFenced as fenced_end:
        return fenced_end.feed
    except HubInOtherLoop as other:
        return other.thread
    except HubInOtherProcess as forked:
        return forked.process
    except (HubClosed, InvalidPart):
        return None
    except StreamHubError as error:
        return str(error)
    return None


def refuse() -> ProviderFailed:
    kind: FailureKind = "rate_limit"
    assert_type(failure_kind("rate_limit: slow down"), FailureKind | None)
    return ProviderFailed(kind, "slow down", retry_after=2.0)
