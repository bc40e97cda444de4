"""Resumable LLM streaming: who produces an answer and who reads it share no lifetime.

::

    async with Hub.from_url("redis://localhost:6379/0") as hub:   # or memory://
        stream = await hub.run("chat:123", answer)                # produce, in the background
        async for chunk in stream.subscribe(after=cursor):        # read, anywhere, and resume
            print(chunk.data, chunk.cursor)
        await stream.cancel()                                     # stop it, from anywhere

Begin with ``Hub``, which finds and claims sessions; ``LiveStream`` is one of them, ``Subscription``
reads it. All errors can be imported from here, and are described in ``streamhub.errors``.

- ``streamhub.sync``: the same for threads
- ``streamhub.http``, ``asgi``, ``wsgi``, ``django``, ``flask``, ``aiohttp``: sessions over HTTP
- ``streamhub.sources``, ``parts``: what models and agents stream; the parts of a message
- ``streamhub.celery``, ``taskiq``: tasks that stream
- ``streamhub.instruments``: logs, metrics and traces
- ``streamhub.testing``: for tests of applications
"""

import typing as _typing

from .chunks import Chunk, Cursor, SessionInfo, Status
from .config import HubConfig
from .end import End
from .ends.dead import DeadEnd
from .ends.feed import Ends
from .ends.taken import TakenEnd
from .errors import (
    ChunkTooLarge as ChunkTooLarge,
    CursorExpired as CursorExpired,
    EndFenced as EndFenced,
    HubClosed as HubClosed,
    HubInOtherLoop as HubInOtherLoop,
    HubInOtherProcess as HubInOtherProcess,
    InboxFull as InboxFull,
    InvalidChunk as InvalidChunk,
    InvalidCursor as InvalidCursor,
    InvalidMessage as InvalidMessage,
    InvalidMetadata as InvalidMetadata,
    InvalidPart as InvalidPart,
    InvalidSessionId as InvalidSessionId,
    InvalidStoreUrl as InvalidStoreUrl,
    MessageTooLarge as MessageTooLarge,
    NoInbox as NoInbox,
    NotProducer as NotProducer,
    NotSupervised as NotSupervised,
    ProducerFailed as ProducerFailed,
    ProducerFenced as ProducerFenced,
    ProducerLost as ProducerLost,
    ProviderFailed as ProviderFailed,
    SessionCorrupted as SessionCorrupted,
    SessionNotFound as SessionNotFound,
    StoreAuthenticationFailed as StoreAuthenticationFailed,
    StoreReadOnly as StoreReadOnly,
    StoreUnavailable as StoreUnavailable,
    StoreUnsupported as StoreUnsupported,
    StreamClosed as StreamClosed,
    StreamHubError as StreamHubError,
    StreamReplaced as StreamReplaced,
    StreamTooLarge as StreamTooLarge,
)
from .hub import Hub
from .producing.receiving import Inbox, Message
from .reading.subscription import Subscription
from .statistics import HubStatistics
from .stream import LiveStream
from .supervisor import LostSession, Supervisor

# Without the errors, of which each would fill a screen of help(); they are public all the same.
__all__ = [
    "Chunk",
    "Cursor",
    "DeadEnd",
    "End",
    "Ends",
    "Hub",
    "HubConfig",
    "HubStatistics",
    "Inbox",
    "LiveStream",
    "LostSession",
    "Message",
    "SessionInfo",
    "Status",
    "Subscription",
    "Supervisor",
    "TakenEnd",
    "__version__",
]

#: The version that is installed.
__version__: str

# A type checker that saw this function would let every name pass.
if not _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        # Looked up when it is asked for: it takes half as long as the whole import.
        if name == "__version__":
            from importlib.metadata import PackageNotFoundError, version

            try:
                return version("streamhub-llm")
            except PackageNotFoundError:
                return "0+unknown"
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
