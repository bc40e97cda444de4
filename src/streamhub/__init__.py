"""Resumable LLM streaming: who produces an answer and who reads it share no lifetime."""

from .chunks import Chunk, Cursor, SessionInfo, Status
from .config import HubConfig
from .errors import (
    ChunkTooLarge,
    CursorExpired,
    HubClosed,
    InvalidChunk,
    InvalidCursor,
    InvalidMetadata,
    InvalidSessionId,
    InvalidStoreUrl,
    NotProducer,
    ProducerFailed,
    ProducerFenced,
    ProducerLost,
    SessionCorrupted,
    SessionNotFound,
    StoreAuthenticationFailed,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnsupported,
    StreamClosed,
    StreamHubError,
    StreamReplaced,
    StreamTooLarge,
)
from .hub import Hub
from .reading.subscription import Subscription
from .stream import LiveStream

__all__ = [
    "Chunk",
    "ChunkTooLarge",
    "Cursor",
    "CursorExpired",
    "Hub",
    "HubClosed",
    "HubConfig",
    "InvalidChunk",
    "InvalidCursor",
    "InvalidMetadata",
    "InvalidSessionId",
    "InvalidStoreUrl",
    "LiveStream",
    "NotProducer",
    "ProducerFailed",
    "ProducerFenced",
    "ProducerLost",
    "SessionCorrupted",
    "SessionInfo",
    "SessionNotFound",
    "Status",
    "StoreAuthenticationFailed",
    "StoreReadOnly",
    "StoreUnavailable",
    "StoreUnsupported",
    "StreamClosed",
    "StreamHubError",
    "StreamReplaced",
    "StreamTooLarge",
    "Subscription",
]
