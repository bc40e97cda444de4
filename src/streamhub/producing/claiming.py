"""From a claim to its producer: who asks for a session gets all that it takes, or gives it back."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from ..chunks import Item, Terms
from ..config import HubConfig
from ..errors import SessionCorrupted, StoreUnavailable, StreamHubError
from ..ids import new_generation
from ..instruments import events
from ..instruments.events import Tell
from ..stores.base import Claim, Refused, Release, Store, StoreTakeover
from .observing import tell_claim
from .producer import Producer

__all__ = ["claim"]

T = TypeVar("T")

_READ_AT_ONCE = 2048
# How often a claim is made that is lost again before what it continues was read.
_ATTEMPTS = 8


async def claim(
    store: Store,
    config: HubConfig,
    session_id: str,
    produce: Callable[[Producer], T],
    *,
    takeover: StoreTakeover,
    owner: str | None,
    metadata: str | None,
    request: str | None,
    same_owner: bool,
    replaces: str | None = None,
    traceparent: str | None = None,
    tell: Tell | None = None,
) -> T | Refused:
    """Claim a session and put its producer to work.

    A claim that cannot be used is given up, whatever it was that failed in between: the session
    can be claimed again at once, and nobody waits for its lease to run out. One that was lost in
    between, be it by a removal, is asked for again.

    :param produce: makes of the producer what the caller wants of it.
    :raises SessionCorrupted: what the session holds is not what its record says.
    """

    async def once() -> T | Refused:
        return await _claim_once(
            store,
            config,
            session_id,
            produce,
            takeover=takeover,
            owner=owner,
            metadata=metadata,
            request=request,
            same_owner=same_owner,
            replaces=replaces,
            traceparent=traceparent,
            tell=tell,
        )

    try:
        return await _claim_present(store, session_id, once)
    except (StoreUnavailable, SessionCorrupted) as error:
        if tell is not None:
            away = isinstance(error, StoreUnavailable)
            tell(events.StoreFailed(doing="claim", count=1, reason=str(error), away=away))
        raise


async def _claim_present(
    store: Store, session_id: str, once: Callable[[], Awaitable[T | Refused]]
) -> T | Refused:
    """Claim until what was claimed is there to be read, or it is hopeless."""
    last: _PastIsMissing | None = None
    for _ in range(_ATTEMPTS):
        try:
            return await once()
        except _PastIsMissing as missing:
            last = missing
    (info,) = await store.look([session_id])
    if isinstance(info, StreamHubError):
        raise info
    if last is not None and info is not None and info.generation == last.claim.generation:
        raise SessionCorrupted(session_id, str(last))
    raise StoreUnavailable(
        repr(store), f"session {session_id!r} was gone {_ATTEMPTS} times while it was claimed"
    )


async def _claim_once(
    store: Store,
    config: HubConfig,
    session_id: str,
    produce: Callable[[Producer], T],
    *,
    takeover: StoreTakeover,
    owner: str | None,
    metadata: str | None,
    request: str | None,
    same_owner: bool,
    replaces: str | None = None,
    traceparent: str | None = None,
    tell: Tell | None = None,
) -> T | Refused:
    """:raises _PastIsMissing: what was claimed went away before it was read."""
    began = time.monotonic()
    generation = new_generation()
    #: As much as it takes to give up a claim of which no more than its generation is known.
    claimed = Claim(session_id, generation, Terms.first(0), None, config.lease, config.retention)
    try:
        answer = await store.claim(
            session_id,
            generation,
            takeover=takeover,
            lease=config.lease,
            retention=config.retention,
            owner=owner,
            metadata=metadata,
            request=request,
            same_owner=same_owner,
            replaces=replaces,
            traceparent=traceparent,
        )
        if isinstance(answer, Refused):
            if tell is not None:
                _tell_refusal(tell, answer, takeover, time.monotonic() - began)
            return answer
        claimed = answer.claim
        produced = produce(Producer(answer, config, await _read_past(store, claimed)))
    except BaseException as error:
        # A store that could not be reached for the claim cannot be for its release.
        if claimed.epoch or not isinstance(error, StoreUnavailable):
            await _give_up(store, claimed)
        raise
    if tell is not None:
        seconds = time.monotonic() - began
        tell_claim(tell, answer, takeover=takeover, traceparent=traceparent, seconds=seconds)
    return produced


async def _read_past(store: Store, claim: Claim) -> list[Item]:
    """What earlier generations wrote into the epoch: it is retained, too, for repair."""
    past: list[Item] = []
    while len(past) < claim.base:
        limit = min(_READ_AT_ONCE, claim.base - len(past))
        chunks = await store.read(claim.session_id, claim.terms.place(len(past)), limit)
        past += [
            chunk.data if chunk.event is None else (chunk.data, chunk.event) for chunk in chunks
        ]
        if not chunks:
            raise _PastIsMissing(claim, len(past))
    return past


class _PastIsMissing(Exception):
    def __init__(self, claim: Claim, found: int) -> None:
        self.claim = claim
        super().__init__(f"its log holds {found:,} of {claim.base:,} chunks")


async def _give_up(store: Store, claim: Claim) -> None:
    with suppress(Exception):
        await store.write([Release(claim, claim.base)])


def _tell_refusal(tell: Tell, refused: Refused, takeover: str, seconds: float) -> None:
    info = refused.info
    tell(
        events.Refused(
            session_id=info.session_id,
            generation=info.generation,
            status=info.status,
            owner=info.owner,
            takeover=takeover,
            seconds=seconds,
        )
    )
