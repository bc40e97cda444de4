"""What a producer does about a store that has lost its data or fails, and when it gives up.

| what the store says                                     | what follows                           |
|---------------------------------------------------------|----------------------------------------|
| ``Gone``, ``HasHoles``                                  | a ``Restore``, before anything else    |
| ``Fenced`` by the generation that this one had replaced | the same: a failover lost the claim.   |
|                                                         | To a ``Restore`` it is the last word   |
| ``Restored(n)``                                         | all chunks after ``n``, once more      |
| ``Behind(n)``, whatever it answers                      | the same: the newest are lost, or what |
|                                                         | came before these has not been taken   |
| an error that may pass                                  | the same again, for ``give_up_after``  |
| any other error                                         | given up                               |

Repairs in vain are given up, too: those after each of which the log was lost again before it was
whole.
"""

from __future__ import annotations

from ..errors import SessionCorrupted, StoreUnavailable, StreamHubError
from ..stores.base import Claim, Fenced, Gone, HasHoles, Restore, WriteOp, WriteResult

__all__ = ["Repair", "loss"]

# A log that loses what is put back each time is not worth more attempts.
_IN_VAIN = 20


def loss(op: WriteOp, result: WriteResult) -> str | None:
    """What the store has lost of the claim, for people to read; None: nothing."""
    replaced = op.claim.replaced
    match result:
        case Gone():
            return "is gone from the store"
        case HasHoles():
            return "has lost chunks"
        case Fenced(current) if current == replaced is not None and not isinstance(op, Restore):
            return f"is again that of {current}, as before its last claim"
    return None


class Repair:
    """How long it has lasted. ``trouble`` is False as long as all goes well."""

    __slots__ = (
        "_failing_since",
        "_give_up_after",
        "_in_vain",
        "_session_id",
        "renewed",
        "trouble",
    )

    def __init__(self, claim: Claim, give_up_after: float) -> None:
        self._session_id = claim.session_id
        self._give_up_after = give_up_after
        self._failing_since: float | None = None
        self._in_vain = 0
        #: Whether anything below is other than at the beginning.
        self.trouble: bool = False
        #: Whether the store took a renewal since it began to fail to take anything else.
        self.renewed: bool = False

    def begin(self) -> StreamHubError | None:
        """The store has lost data, and is to get it back; the error if that was in vain too
        often."""
        self.trouble = True
        self._in_vain += 1
        if self._in_vain <= _IN_VAIN:
            return None
        reason = f"the log could not be mended in {_IN_VAIN} attempts"
        return SessionCorrupted(self._session_id, reason)

    def lasted(self) -> None:
        """All that was put back is still there."""
        self._in_vain = 0
        self.trouble = self._failing_since is not None

    def answered(self) -> None:
        """The store has carried something out, or said why it does not."""
        self._failing_since, self.renewed = None, False
        self.trouble = self._in_vain > 0

    def renewed_lease(self) -> None:
        """The store has answered a renewal, which says nothing of what else it takes."""
        self.renewed = self._failing_since is not None

    def failed(
        self, error: Exception, now: float, *, stored: int, last: int
    ) -> StreamHubError | None:
        """The error to give up with; None if it is worth another attempt.

        :param now: seconds of a clock that does not go back.
        :param stored: how many of the ``last`` chunks are stored.
        """
        self.trouble = True
        if self._failing_since is None:
            self._failing_since = now
        if not isinstance(error, StoreUnavailable):
            if isinstance(error, StreamHubError):
                return error
            failure = StoreUnavailable("store", f"failed with {type(error).__name__}: {error}")
        elif now - self._failing_since < self._give_up_after:
            return None
        else:
            failure = StoreUnavailable(
                error.store,
                f"could not be written for {self._give_up_after:g} s; session "
                f"{self._session_id!r} is stored up to offset {stored} of {last}: {error.reason}",
            )
        failure.__cause__ = error
        return failure
