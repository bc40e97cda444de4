"""When the writer may go: the table of ``producing.pacing``, line by line and in pairs."""

from __future__ import annotations

from itertools import pairwise, product
from math import inf

import pytest

from streamhub.producing.pacing import PLENTY, Pacing, distance

#: When the last round went, in seconds of a clock; it is a little later now.
WENT = 100.0
NOW = 100.0001


def pacing(
    *, ready: int = 0, under_way: int = 0, alone: bool = False, shared: int = 1, linger: float = 0.0
) -> Pacing:
    """One whose last round ``shared`` so many streams, and which so many reports have reached since
    then; of its rounds, so many have not ended."""
    made = Pacing(linger)
    for _ in range(max(1, under_way)):
        made.mark(WENT, False)
        made.begin(0, more=False, carries=True, alone=alone)
        made.gone(WENT, shared)
    if not under_way:
        made.end()
    for _ in range(ready):
        made.mark(WENT, False)
    return made


FEW, LOTS = 3, PLENTY


@pytest.mark.parametrize("urgent", [False, True], ids=["", "urgent"])
@pytest.mark.parametrize("shared", [1, 3, 300])
@pytest.mark.parametrize("under_way", [0, 1, 2])
@pytest.mark.parametrize("ready", [0, FEW, LOTS])
@pytest.mark.parametrize("goes_alone", [False, True], ids=["", "goes alone"])
@pytest.mark.parametrize("is_alone", [False, True], ids=["", "is alone"])
def test_when_the_next_round_may_begin(
    ready: int, under_way: int, shared: int, urgent: bool, goes_alone: bool, is_alone: bool
) -> None:
    """Every line of the table with every other thing that may be the case."""
    made = pacing(ready=ready, under_way=under_way, alone=is_alone, shared=shared)
    if urgent and ready:
        made.mark(NOW, True)

    due = made.due(alone=goes_alone)

    if not ready or (under_way and (is_alone or goes_alone or ready == FEW)):
        assert inf == due
    elif urgent:
        assert -inf == due
    else:
        assert WENT + distance(shared) == due


@pytest.mark.parametrize(
    ("streams", "seconds"), [(1, 0.00025), (2, 0.001), (3, 0.002), (5, 0.004), (1_000, 0.004)]
)
def test_the_more_streams_share_a_round_the_longer_the_next_one_waits(
    streams: int, seconds: float
) -> None:
    """A lone stream hardly waits, and nobody for longer than four milliseconds."""
    assert seconds == distance(streams)


def test_what_lingers_waits_since_the_first_of_it_came() -> None:
    """More chunks that come put off nothing."""
    made = Pacing(linger=5.0)
    for came in (1.0, 2.0, 3.0):
        made.mark(came, False)
    assert 6.0 == made.due()


def test_what_came_during_a_round_lingers_since_that_began() -> None:
    """It is reported when the round has ended, after something that came later."""
    made = Pacing(linger=5.0)
    made.mark(3.0, False)
    made.mark(1.0, False)
    assert 6.0 == made.due()


def test_who_waits_ends_the_gathering_for_all() -> None:
    """What lingers goes along with what is urgent, and lingers again afterwards."""
    made = Pacing(linger=5.0)
    made.mark(1.0, False)
    made.mark(1.0, True)
    assert -inf == made.due()
    made.begin(0, more=False, carries=True, alone=False)
    made.gone(1.0, 2)
    made.end()
    made.mark(2.0, False)
    assert 7.0 == made.due()


def test_what_a_round_left_is_still_urgent() -> None:
    """More was ready than fits: nothing has to happen for the rest to follow, beside the first."""
    made = Pacing(linger=5.0)
    made.mark(1.0, True)
    made.begin(1, more=True, carries=True, alone=False)
    made.gone(1.0, 1)
    assert -inf == made.due()


@pytest.mark.parametrize(
    ("ready", "urgent", "worth"),
    [(0, False, True), (1, False, False), (1, True, True), (PLENTY - 1, False, True)],
)
def test_a_report_is_worth_a_look_where_it_may_bring_a_round(
    ready: int, urgent: bool, worth: bool
) -> None:
    """The first, one that makes it plenty, and whatever is urgent: no other can."""
    assert worth is pacing(ready=ready).mark(NOW, urgent)


REPORTS = {"later": (NOW + 1.0, False), "earlier": (WENT - 1.0, False), "urgent": (NOW, True)}


@pytest.mark.parametrize(("first", "second"), list(product(REPORTS, REPORTS)))
@pytest.mark.parametrize("under_way", [0, 1])
@pytest.mark.parametrize("ready", [1, PLENTY - 1])
def test_a_report_never_puts_a_round_off(
    first: str, second: str, under_way: int, ready: int
) -> None:
    """Of any two, each brings the next round nearer or leaves it where it is; so does the end of a
    round, whichever comes first."""
    for end_at in range(3) if under_way else [None]:
        made = pacing(ready=ready, under_way=under_way, shared=300, linger=3.0)
        dues = [made.due()]
        steps = [REPORTS[first], REPORTS[second]]
        for at in range(3):
            if at == end_at:
                made.end()
            elif steps:
                came, urgent = steps.pop(0)
                made.mark(came, urgent)
            dues.append(made.due())
        assert all(earlier >= later for earlier, later in pairwise(dues))


def test_what_has_nothing_to_write_makes_no_round() -> None:
    """Streams were reported that were done when their turn came: nothing waits for an end."""
    made = pacing(ready=FEW)
    made.begin(0, more=False, carries=False, alone=True)
    assert inf == made.due()
    made.mark(NOW, True)
    assert -inf == made.due()


def test_one_stream_has_rounds_for_itself_until_others_share_them() -> None:
    """Then nothing gathers in this turn of the event loop, and a round may begin within it."""
    assert Pacing(0.0).lone
    assert pacing(shared=1).lone
    assert not pacing(shared=2).lone


def test_a_store_that_fails_is_left_alone_for_longer_each_time() -> None:
    """Up to a second; what fails meanwhile is tried again together with the first."""
    made = Pacing(0.0)
    pauses = []
    for _ in range(7):
        pauses.append(made.fail())
        assert made.fail() is None
        made.retry()
    assert [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0] == pauses
    assert made.strained
    made.recover()
    assert not made.strained
    assert 0.05 == made.fail()
