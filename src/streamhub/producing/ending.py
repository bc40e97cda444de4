"""Telling the application of the end of a stream, in the process that has produced it, and its
instruments of the end of a claim."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from .. import metadata_json
from ..chunks import Item, SessionInfo, Status
from ..end import End
from ..errors import StoreUnavailable
from ..instruments import events
from ..signals import is_cancelled
from ..stores.base import Store
from .observing import Observed
from .phase import Phase
from .producer import Producer

__all__ = ["OnEnd", "tell", "tell_instruments"]

logger: logging.Logger = logging.getLogger("streamhub")

OnEnd = Callable[[End], object] | Callable[[End], Awaitable[object]]


def tell(on_end: OnEnd, producer: Producer, store: Store) -> Coroutine[Any, Any, None] | None:
    """What tells ``on_end``, once it is run; None where there is no end to tell of: the session
    was left to others, or has been taken from this producer.

    To be called while the producer still has what it has written.
    """
    state, outbox, metadata = producer.state, producer.outbox, producer.metadata.value
    status, error = state.outcome
    if state.phase is not Phase.ENDED or status is Status.LOST:
        return None
    items, stored = outbox.items, outbox.stored
    known = SessionInfo(
        session_id=producer.claim.session_id,
        status=status,
        generation=producer.claim.generation,
        terms=producer.claim.terms,
        last=producer.claim.terms.place(stored),
        bytes=outbox.sizes[stored],
        owner=producer.claim.owner,
        created=producer.claim.created_ms / 1000 or None,
        error=error or None,
        metadata=None if metadata is None else metadata_json.decode(metadata),
    )
    return _tell(on_end, known, items, store)


def tell_instruments(producer: Producer, observed: Observed) -> None:
    """Tell how a claim is over. To be called while the producer still has what it has written."""
    state, outbox = producer.state, producer.outbox
    stored = outbox.stored
    base = min(producer.claim.base, stored)
    facts = {
        **observed.facts(),
        "chunks": stored - base,
        "bytes": outbox.sizes[stored] - outbox.sizes[base],
        "metadata": producer.metadata.value,
    }
    status, error = state.outcome
    match state.phase:
        case Phase.ENDED:
            observed.tell(events.Ended(**facts, status=status, reason=error or None))
        case Phase.RELEASED:
            observed.tell(
                events.Released(**facts, in_vain=state.in_vain, abandoned=state.abandoned)
            )
        case Phase.FENCED:
            observed.tell(events.Fenced(**facts, by=state.current))
        case _:
            observed.tell(events.GivenUp(**facts, reason=str(state.refusal())))


async def _tell(on_end: OnEnd, known: SessionInfo, items: Sequence[Item], store: Store) -> None:
    # What reads parts is loaded when an end is told: `import streamhub` takes a tenth less.
    from ..parts.folding import message_of

    try:
        info = await _as_stored(known, store, most=len(items))
        items = items[: info.last.offset]
        message = message_of(info, items)
        end = End.of(info, items, message=message, ended=info.ended or time.time())
        result = on_end(end)
        if inspect.isawaitable(result):
            await result
    except asyncio.CancelledError:
        logger.warning(
            "on_end of session %r was cut off%s", known.session_id,
            ": it took longer than the hub to close" if is_cancelled() else "",
        )  # fmt: skip
        if is_cancelled():
            raise
    except Exception:
        logger.exception("on_end of session %r failed", known.session_id)


async def _as_stored(known: SessionInfo, store: Store, *, most: int) -> SessionInfo:
    """How the session stands in the store, which alone has the reason of a cancel; as its producer
    knows it, where the store cannot be asked, or has something else by now.

    :param most: how many chunks the producer has written.
    """
    with suppress(StoreUnavailable):
        (info,) = await store.look([known.session_id], metadata=True)
        if (
            isinstance(info, SessionInfo)
            and (info.generation, info.status) == (known.generation, known.status)
            and info.last.offset <= most
        ):
            return info
    return known
