"""One session in memory: its claim, how it stands, its log and its inbox."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec.structs import replace

from ... import metadata_json
from ...chunks import Chunk, SessionInfo, Status
from ..base import Claim
from ..feeds import is_supervisor
from .inbox import MessageBox

__all__ = ["EndState", "Record"]


class EndState:
    """What has become of one end in one feed."""

    __slots__ = ("attempts", "error", "generation", "state", "until", "worker")

    def __init__(self, generation: str) -> None:
        self.generation: str = generation
        self.state: Literal["new", "held", "again", "back", "done", "dead"] = "new"
        self.worker: str = ""
        self.until: float = 0.0
        self.attempts: int = 0
        self.error: str = ""


class Record:
    """One session: its claim, how it stands, its log and its inbox."""

    __slots__ = (
        "bytes",
        "cancelling",
        "claim",
        "ended",
        "ends",
        "error",
        "expires",
        "followers",
        "handed_over",
        "host",
        "inbox",
        "lapsed",
        "lease_until",
        "log",
        "metadata",
        "reason",
        "renewals",
        "status",
        "updated",
    )

    def __init__(self, claim: Claim, metadata: str | None) -> None:
        self.claim: Claim = claim
        self.metadata: str | None = metadata
        self.status: Status = Status.ACTIVE
        self.error: str | None = None
        self.cancelling: bool = False
        self.reason: str | None = None
        self.log: list[Chunk] = []
        self.inbox: MessageBox = MessageBox()
        self.bytes: int = 0
        self.lease_until: float = 0.0
        self.handed_over: bool = False
        self.renewals: int = 0
        self.expires: float = 0.0
        self.host: str = ""
        self.updated: float = 0.0
        #: When the lease lapses, or was given up.
        self.lapsed: float = 0.0
        self.ended: float | None = None
        #: How many follow it in each hub, and until when that holds.
        self.followers: dict[str, tuple[int, float]] = {}
        #: By feed; one of another generation is of an end that was continued.
        self.ends: dict[str, EndState] = {}

    def renew(self, now: float, claim: Claim) -> None:
        self.lease_until = self.lapsed = now + claim.lease
        self.renewals += 1
        self.updated = now
        self.expires = self.lease_until + claim.kept

    def release(self, now: float, *, in_vain: bool) -> None:
        if self.lease_until > 0:
            self.handed_over = not in_vain
        self.lease_until = 0.0
        self.lapsed = min(self.lapsed, now)
        self.updated = now
        self.expires = now + self.claim.kept

    def announce(self, now: float, hub: str, count: int, lasts: float) -> None:
        for other in [name for name, (_, until) in self.followers.items() if until <= now]:
            del self.followers[other]
        self.followers[hub] = count, now + lasts

    def end(self, now: float, status: Status, error: str | None = None) -> None:
        self.status = Status.CANCELLED if self.cancelling else status
        self.error = (self.reason if self.status is Status.CANCELLED else error) or None
        self.cancelling = False
        self.ended = self.updated = now
        self.expires = now + self.claim.kept

    def keep_for(self, feeds: tuple[str, ...], unsaved: float, now: float) -> None:
        """It is set aside for these feeds."""
        self.claim = replace(self.claim, feeds=feeds, unsaved=unsaved)
        self.expires = max(self.expires, (self.ended or now) + self.claim.kept)

    def end_in(self, feed: str) -> EndState:
        """What has become of this end in the feed."""
        found = self.ends.get(feed)
        if found is None or found.generation != self.claim.generation:
            found = EndState(self.claim.generation)
        return found

    def awaited(self, feeds: Iterable[str]) -> bool:
        """Whether one of the feeds has not done this end."""
        return any(not is_supervisor(one) and self.end_in(one).state != "done" for one in feeds)

    def standing(self, now: float) -> Status:
        if self.status is Status.ACTIVE and self.lease_until <= now:
            return Status.LOST
        return self.status

    def info(self, now: float, *, metadata: bool) -> SessionInfo:
        claim = self.claim
        return SessionInfo(
            session_id=claim.session_id,
            status=self.standing(now),
            generation=claim.generation,
            terms=claim.terms,
            last=claim.terms.cursor(len(self.log)),
            replaced=claim.replaced,
            bytes=self.bytes,
            lease=max(0.0, self.lease_until - now) if self.status is Status.ACTIVE else None,
            lease_mark=self.renewals,
            owner=claim.owner,
            request=claim.request,
            traceparent=claim.traceparent,
            created=claim.created_ms / 1000,
            updated=self.updated,
            ended=self.ended,
            resumes=claim.resumes,
            handovers=claim.handovers,
            host=self.host or None,
            feeds=claim.feeds,
            subscribers=sum(count for count, until in self.followers.values() if until > now)
            if self.followers
            else None,
            error=self.error,
            cancelling=self.cancelling,
            metadata=metadata_json.decode(self.metadata) if metadata and self.metadata else None,
        )
