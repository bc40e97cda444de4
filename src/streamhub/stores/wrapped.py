"""A store around another one, for what is to happen before or after its calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from ..chunks import Chunk, Cursor, SessionInfo, Status
from ..config import HubConfig
from ..errors import SessionCorrupted, StoreUnavailable
from ..instruments.events import Tell
from .base import (
    BaseStore,
    Claim,
    Granted,
    InboxPage,
    LiveEvent,
    Refused,
    Renew,
    Store,
    StoreTakeover,
    Watch,
    WriteOp,
    WriteResult,
)
from .feeds import Feeds

__all__ = ["WrappedStore"]


class WrappedStore(BaseStore):
    """Passes every call on to ``store``. A subclass changes what it is there for::

        class Audited(WrappedStore):
            async def remove(self, session_id: str) -> bool:
                logger.info("removing %s", session_id)
                return await super().remove(session_id)

    :param store: is closed together with this one.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def __repr__(self) -> str:
        return repr(self.store)

    def configure(self, config: HubConfig) -> None:
        self.store.configure(config)

    @property
    def feeds(self) -> Feeds | None:
        return self.store.feeds

    async def claim(
        self,
        session_id: str,
        generation: str,
        *,
        takeover: StoreTakeover,
        lease: float,
        retention: float,
        owner: str | None = None,
        metadata: str | None = None,
        request: str | None = None,
        same_owner: bool = False,
        replaces: str | None = None,
        traceparent: str | None = None,
    ) -> Granted | Refused:
        return await self.store.claim(
            session_id,
            generation,
            takeover=takeover,
            lease=lease,
            retention=retention,
            owner=owner,
            metadata=metadata,
            request=request,
            same_owner=same_owner,
            replaces=replaces,
            traceparent=traceparent,
        )

    def write(self, ops: Sequence[WriteOp]) -> Awaitable[list[WriteResult | Exception]]:
        return self.store.write(ops)

    async def renew(self, ops: Sequence[Renew]) -> list[WriteResult | Exception]:
        return await self.store.renew(ops)

    async def cancel(
        self, session_id: str, *, generation: str, epoch: int | None, reason: str | None = None
    ) -> Status | None:
        return await self.store.cancel(
            session_id, generation=generation, epoch=epoch, reason=reason
        )

    async def remove(self, session_id: str) -> bool:
        return await self.store.remove(session_id)

    async def look(
        self, session_ids: Sequence[str], *, metadata: bool = False
    ) -> Sequence[SessionInfo | SessionCorrupted | StoreUnavailable | None]:
        return await self.store.look(session_ids, metadata=metadata)

    async def announce(self, followers: Mapping[str, int], *, hub: str, lasts: float) -> None:
        await self.store.announce(followers, hub=hub, lasts=lasts)

    async def metadata_sizes(self, session_ids: Sequence[str]) -> Sequence[int]:
        return await self.store.metadata_sizes(session_ids)

    async def memory(self, session_ids: Sequence[str]) -> Sequence[int | None]:
        return await self.store.memory(session_ids)

    async def read(
        self, session_id: str, after: Cursor, limit: int, *, generation: str | None = None
    ) -> list[Chunk]:
        return await self.store.read(session_id, after, limit, generation=generation)

    async def read_joined(self, session_id: str, after: Cursor, limit: int) -> list[Chunk]:
        return await self.store.read_joined(session_id, after, limit)

    def sessions(self, *, owner: str | None = None, foreign: bool = False) -> AsyncIterator[str]:
        return self.store.sessions(owner=owner, foreign=foreign)

    def watch(
        self, session_id: str, sink: Callable[[LiveEvent], None], *, cancels: bool = False
    ) -> Watch:
        return self.store.watch(session_id, sink, cancels=cancels)

    async def send(
        self,
        session_id: str,
        data: str,
        event: str | None,
        *,
        epoch: int | None,
        token: str,
        max_messages: int,
        max_bytes: int,
    ) -> str:
        return await self.store.send(
            session_id,
            data,
            event,
            epoch=epoch,
            token=token,
            max_messages=max_messages,
            max_bytes=max_bytes,
        )

    async def read_inbox(self, claim: Claim, held: Sequence[str]) -> InboxPage:
        return await self.store.read_inbox(claim, held)

    def watch_inbox(self, session_id: str, sink: Callable[[LiveEvent], None]) -> Watch:
        return self.store.watch_inbox(session_id, sink)

    def instrument(self, tell: Tell) -> None:
        self.store.instrument(tell)

    def connections(self) -> int:
        return self.store.connections()

    async def aclose(self) -> None:
        await self.store.aclose()
