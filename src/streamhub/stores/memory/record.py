"""One session in memory: its claim, how it stands, and its log."""

from __future__ import annotations

from ... import metadata_json
from ...chunks import Chunk, SessionInfo, Status
from ..base import Claim

__all__ = ["Record", "Tombstone"]


class Record:
    """One session: its claim, how it stands, and its log."""

    __slots__ = (
        "bytes",
        "cancelling",
        "claim",
        "error",
        "expires",
        "lease_until",
        "log",
        "metadata",
        "reason",
        "renewals",
        "status",
    )

    def __init__(self, claim: Claim, metadata: str | None) -> None:
        self.claim = claim
        self.metadata = metadata
        self.status = Status.ACTIVE
        self.error: str | None = None
        self.cancelling = False
        self.reason: str | None = None
        self.log: list[Chunk] = []
        self.bytes = 0
        self.lease_until = 0.0
        self.renewals = 0
        self.expires = 0.0

    def renew(self, now: float, claim: Claim) -> None:
        self.lease_until = now + claim.lease
        self.renewals += 1
        self.expires = self.lease_until + claim.retention

    def end(self, now: float, status: Status, error: str | None = None) -> None:
        self.status = Status.CANCELLED if self.cancelling else status
        self.error = (self.reason if self.status is Status.CANCELLED else error) or None
        self.cancelling = False
        self.expires = now + self.claim.retention

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
            created=claim.created_ms / 1000,
            error=self.error,
            cancelling=self.cancelling,
            metadata=metadata_json.decode(self.metadata) if metadata and self.metadata else None,
        )


class Tombstone(dict[str, int]):
    """The removed generations of a session, and their terms."""

    expires = 0.0
