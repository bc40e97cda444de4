"""What a store in memory remembers of sessions that were removed."""

from __future__ import annotations

from ..operations import Claim

__all__ = ["Tombstones"]

# How many removed generations of one session are known at most.
_MOST_REMOVED = 100


class _Tombstone(dict[str, int]):
    """The removed generations of a session, and their terms."""

    expires = 0.0


class Tombstones:
    """Keeps out producers of sessions that were removed while they lived."""

    def __init__(self) -> None:
        self._of: dict[str, _Tombstone] = {}

    def bury(self, claim: Claim, newest: int, expires: float) -> None:
        """:param newest: claims of this term and older ones are kept out, whosever they are."""
        tombstone = self._of.setdefault(claim.session_id, _Tombstone())
        tombstone[claim.generation] = max(claim.terms.current, newest)
        if len(tombstone) > _MOST_REMOVED:
            del tombstone[next(iter(tombstone))]
        tombstone.expires = max(tombstone.expires, expires)

    def last_term(self, session_id: str) -> int:
        """The newest term that is kept out; 0 where none is."""
        return max(self._of.get(session_id, {}).values(), default=0)

    def drop_expired(self, session_id: str, now: float) -> None:
        tombstone = self._of.get(session_id)
        if tombstone is not None and tombstone.expires <= now:
            del self._of[session_id]

    def sweep(self, now: float) -> None:
        for session_id in list(self._of):
            self.drop_expired(session_id, now)
