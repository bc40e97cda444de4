"""Which sessions there are: looked at many at a time, their metadata read a little at a time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from ..chunks import SessionInfo
from ..errors import StoreUnavailable
from ..stores.base import Store

__all__ = ["listed", "listed_with_metadata"]

logger: logging.Logger = logging.getLogger("streamhub")

_LOOKS_AT_ONCE = 256
# How much metadata is read at once; what is larger is read by itself. Decoded, it may take many
# times as much.
_BYTES_AT_ONCE = 256 * 1024


async def listed(store: Store, session_ids: AsyncIterator[str]) -> AsyncIterator[SessionInfo]:
    """Those of the sessions that are there, without their metadata.

    :raises StoreUnavailable: a part of the store cannot be reached.
    """
    async for batch in _batches(session_ids):
        for info in await _look(store, batch):
            yield info


async def listed_with_metadata(
    store: Store,
    session_ids: AsyncIterator[str],
    wanted: Callable[[SessionInfo], bool] | None = None,
) -> AsyncIterator[SessionInfo]:
    """Those of the sessions that are there and wanted, with their metadata.

    Metadata is read of wanted sessions only, and no more at once than fits into
    ``_BYTES_AT_ONCE``: if the caller stops early, little was read in vain.

    :raises StoreUnavailable: a part of the store cannot be reached.
    """
    async for batch in _batches(session_ids):
        names = batch
        if wanted is not None:
            names = [info.session_id for info in await _look(store, batch) if wanted(info)]
        for few in _cut(names, await store.metadata_sizes(names)):
            for info in await _look(store, few, metadata=True):
                # It may have changed since.
                if wanted is None or wanted(info):
                    yield info


async def _look(
    store: Store, session_ids: Sequence[str], *, metadata: bool = False
) -> list[SessionInfo]:
    found: list[SessionInfo] = []
    for info in await store.look(session_ids, metadata=metadata):
        if isinstance(info, SessionInfo):
            found.append(info)
        elif isinstance(info, StoreUnavailable):
            raise info
        elif info is not None:
            logger.warning("left out: %s", info)
    return found


async def _batches(session_ids: AsyncIterator[str]) -> AsyncIterator[list[str]]:
    batch: list[str] = []
    async for session_id in session_ids:
        batch.append(session_id)
        if len(batch) == _LOOKS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _cut(session_ids: Sequence[str], sizes: Sequence[int]) -> Iterator[list[str]]:
    """As many at a time as fit, at least one."""
    few: list[str] = []
    weight = 0
    for session_id, size in zip(session_ids, sizes, strict=True):
        if few and weight + size > _BYTES_AT_ONCE:
            yield few
            few, weight = [], 0
        few.append(session_id)
        weight += size
    if few:
        yield few
