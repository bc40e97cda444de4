"""What a producer puts back, and when it gives up: the decisions of ``producing.repair``."""

from __future__ import annotations

import pytest

from streamhub import SessionCorrupted, Status, StoreUnavailable, StreamHubError
from streamhub.chunks import Terms
from streamhub.producing.repair import Repair, loss
from streamhub.stores.base import (
    Append,
    Behind,
    Claim,
    Fenced,
    Gone,
    HasHoles,
    Over,
    Renew,
    Restore,
    Restored,
    Stored,
    WriteOp,
    WriteResult,
)

CLAIM = Claim("s", "g2", Terms.first(7), replaced="g1", lease=15.0, retention=60.0)
FIRST = Claim("s", "g2", Terms.first(7), replaced=None, lease=15.0, retention=60.0)
FAILURE = StoreUnavailable("store", "is full")

APPEND, RENEW, RESTORE = Append(CLAIM, 0, ["a"], 1, 7), Renew(CLAIM, 1), Restore(CLAIM, None)


@pytest.mark.parametrize("op", [APPEND, RENEW, RESTORE], ids=lambda op: type(op).__name__)
@pytest.mark.parametrize(
    ("result", "lost"),
    [
        (Stored(1), False),
        (Behind(0), False),
        (HasHoles(), True),
        (Gone(), True),
        (Restored(0), False),
        (Fenced("g1"), True),
        (Fenced("g3"), False),
        (Fenced(None), False),
        (Over(Status.CANCELLED), False),
    ],
)
def test_what_says_that_the_claim_is_lost(op: WriteOp, result: WriteResult, lost: bool) -> None:
    """The same answer says it of every operation; but the generation that was replaced, where it
    stands there against a restore, has claimed the session anew."""
    if isinstance(op, Restore) and isinstance(result, Fenced):
        lost = False
    assert lost == (loss(op, result) is not None)


def test_a_removal_is_no_loss_of_a_first_claim() -> None:
    """It had replaced nobody, and belongs to nobody now."""
    assert loss(Renew(FIRST, 0), Fenced(None)) is None


def test_repairs_in_vain_are_given_up() -> None:
    """Twenty, none of which lasted; one that did begins the count anew."""
    repair = Repair(CLAIM, 60.0)
    assert [None] * 20 == [repair.begin() for _ in range(20)]
    assert isinstance(repair.begin(), SessionCorrupted)

    repair = Repair(CLAIM, 60.0)
    for _ in range(15):
        repair.begin()
    repair.lasted()
    assert [None] * 20 == [repair.begin() for _ in range(20)]


@pytest.mark.parametrize(
    ("times", "gives_up_at"),
    [([0.0, 9.9, 10.0], 10.0), ([5.0, 14.9, 15.0], 15.0), ([0.0, 9.0], None)],
)
def test_a_store_that_fails_is_given_up_after_a_while(
    times: list[float], gives_up_at: float | None
) -> None:
    """Counted from the first failure since it last answered."""
    repair = Repair(CLAIM, 10.0)
    gave_up = [time for time in times if repair.failed(FAILURE, time, stored=1, last=3)]
    assert ([] if gives_up_at is None else [gives_up_at]) == gave_up


def test_an_answer_ends_an_outage_and_a_renewal_does_not() -> None:
    """What takes renewals may still be full. ``renewed`` tells the two apart."""
    repair = Repair(CLAIM, 10.0)
    repair.renewed_lease()
    assert not repair.renewed
    repair.failed(FAILURE, 0.0, stored=0, last=1)
    repair.renewed_lease()
    assert repair.renewed
    repair.lasted()
    assert repair.failed(FAILURE, 10.0, stored=0, last=1) is not None

    repair.answered()
    assert (False, False) == (repair.renewed, repair.trouble)
    assert repair.failed(FAILURE, 20.0, stored=0, last=1) is None


@pytest.mark.parametrize("error", [SessionCorrupted("s", "is a list"), KeyError("x")])
def test_what_will_not_pass_is_given_up_at_once(error: Exception) -> None:
    """An error of ours as it is, any other as the store's."""
    given_up = Repair(CLAIM, 10.0).failed(error, 0.0, stored=0, last=1)
    assert isinstance(given_up, StreamHubError)
    assert given_up is error or given_up.__cause__ is error
    assert str(error) in str(given_up)


def test_trouble_is_over_when_everything_is_as_at_the_beginning() -> None:
    """So that a chunk that is stored need not ask for each of the reasons."""
    repair = Repair(CLAIM, 10.0)
    assert not repair.trouble
    repair.begin()
    repair.failed(FAILURE, 0.0, stored=0, last=1)
    repair.answered()
    assert repair.trouble
    repair.lasted()
    assert not repair.trouble
