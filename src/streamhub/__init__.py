"""Resumable LLM streaming: who produces an answer and who reads it share no lifetime."""

from typing import TYPE_CHECKING

from .chunks import Chunk, Cursor, SessionInfo, Status
from .config import HubConfig
from .end import End
from .ends.dead import DeadEnd
from .ends.feed import Ends
from .ends.taken import TakenEnd
from .errors import (
    ChunkTooLarge,
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
from .producing.receiving import Inbox, Message
from .reading.subscription import Subscription
from .statistics import HubStatistics
from .stream import LiveStream
from .supervisor import LostSession, Supervisor

__all__ = [
    "Chunk",
    "ChunkTooLarge",
    "Cursor",
    "CursorExpired",
    "DeadEnd",
    "End",
    "EndFenced",
    "Ends",
    "Hub",
    "HubClosed",
    "HubConfig",
    "HubInOtherLoop",
    "HubInOtherProcess",
    "HubStatistics",
    "Inbox",
    "InboxFull",
    "InvalidChunk",
    "InvalidCursor",
    "InvalidMessage",
    "InvalidMetadata",
    "InvalidPart",
    "InvalidSessionId",
    "InvalidStoreUrl",
    "LiveStream",
    "LostSession",
    "Message",
    "MessageTooLarge",
    "NoInbox",
    "NotProducer",
    "NotSupervised",
    "ProducerFailed",
    "ProducerFenced",
    "ProducerLost",
    "ProviderFailed",
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
    "Supervisor",
    "TakenEnd",
    "__version__",
]

#: The version that is installed.
__version__: str

# A type checker that saw this function would let every name pass.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        # Looked up when it is asked for: it takes half as long as the whole import.
        if name == "__version__":
            from importlib.metadata import PackageNotFoundError, version

            try:
                return version("streamhub-llm")
            except PackageNotFoundError:
                return "0+unknown"
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
