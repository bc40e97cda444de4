"""How a session stands: every order of what is asked, what is answered and what happens."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from math import inf

import pytest
from msgspec.structs import replace

from streamhub import Chunk, Cursor, SessionCorrupted, SessionInfo, Status
from streamhub.chunks import Terms
from streamhub.reading.standing import Standing, State
from streamhub.stores.base import (
    Appended,
    Claimed,
    Ended,
    LiveEvent,
    Released,
    Removed,
    Synced,
    Unsynced,
)

LEASE = 15.0
TERM = 1_700_000_000_000
#: Nobody waits longer for a verdict, whatever comes first.
VERDICT = LEASE + 5.0


def found(status: Status = Status.ACTIVE, *, last: int = 3, mark: int = 1) -> SessionInfo:
    return SessionInfo(
        session_id="chat",
        status=status,
        generation="g1",
        terms=Terms.first(TERM),
        last=Cursor(TERM, last),
        lease={Status.ACTIVE: LEASE, Status.LOST: 0.0}.get(status),
        lease_mark=mark,
    )


def appended(base: int = 3, term: int = TERM) -> Appended:
    return Appended(term, base, [Chunk("x", Cursor(term, base + 1))], bytes=1, lease=LEASE)


class Run:
    """A machine, its clock, and a store that answers as it stands."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.standing = Standing(LEASE, self.now)
        self.stored: SessionInfo | SessionCorrupted | None = found()
        self.held = Cursor(-1, 0)
        self.looks = 0

    def look(self) -> None:
        self.standing.begin_look()
        self.answer()

    def answer(self) -> None:
        self.looks += 1
        self.standing.answer(self.stored, self.now, heard=self.held)

    def known(self) -> Run:
        self.standing.change(Synced(), self.now)
        self.look()
        assert self.standing.info is not None
        return self

    def until(self, met: Callable[[], bool], within: float) -> float:
        """Let time pass, with a look whenever one is due; how long that took."""
        began = self.now
        while not met():
            due = self.standing.due
            assert due < inf, "nobody will look again"
            self.now = max(self.now, due)
            assert self.now - began <= within, "no verdict in time"
            self.look()
        return self.now - began


def is_lost(run: Run) -> bool:
    info = run.standing.info
    return info is not None and info.status is Status.LOST


INPUTS: dict[str, Callable[[Run], object]] = {
    "ask": lambda run: run.standing.ask(run.now),
    "begin": lambda run: run.standing.begin_look(),
    "answer": lambda run: run.answer(),
    "fail": lambda run: run.standing.look_failed(run.now + 0.05),
    "append": lambda run: run.standing.append(appended(), 4, run.now),
    "append of another term": lambda run: run.standing.append(appended(0, TERM + 9), 1, run.now),
    "end": lambda run: run.standing.change(Ended(TERM, 3, Status.FINISHED, None), run.now),
    "claim": lambda run: run.standing.change(Claimed(TERM + 9, 3, LEASE, "g2"), run.now),
    "release": lambda run: run.standing.change(Released(TERM, 3), run.now),
    "removal": lambda run: run.standing.change(Removed(), run.now),
    "disconnect": lambda run: run.standing.change(Unsynced(), run.now),
    "learn": lambda run: run.standing.learn("g1", run.now),
    "learn of another": lambda run: run.standing.learn("g2", run.now),
    "connect": lambda run: run.standing.change(Synced(), run.now),
    "distrust": lambda run: run.standing.distrust(run.now),
}


def _is_possible(order: tuple[str, ...]) -> bool:
    """Looks begin one after the other, and are answered or fail after that."""
    under_way = False
    for name in order:
        if name == "begin":
            if under_way:
                return False
            under_way = True
        elif name in ("answer", "fail"):
            if not under_way:
                return False
            under_way = False
    return True


def _settle(run: Run, order: tuple[str, ...]) -> None:
    """What is under way comes to its end, as every request does."""
    ends = {"begin": True, "answer": False, "fail": False}
    under_way = False
    for name in order:
        under_way = ends.get(name, under_way)
    if under_way:
        run.answer()


ORDERS = [order for order in permutations(INPUTS, 4) if _is_possible(order)]


@pytest.mark.parametrize("first", INPUTS)
def test_who_asked_for_a_look_gets_one_whatever_happens_then(first: str) -> None:
    """However chunks, ends, claims and removals follow the question, a look that begins after it
    is answered, and soon: nothing that happens moves that deadline away."""
    for order in ORDERS:
        if order[0] != first:
            continue
        run = Run().known()
        for at, name in enumerate(order):
            INPUTS[name](run)
            if at == 0:
                number = run.standing.ask(run.now)
        _settle(run, order)
        took = run.until(lambda: run.standing.has_answered(number), within=VERDICT)  # noqa: B023
        assert took <= 1.0, order


@pytest.mark.parametrize(
    "stored",
    [
        found(Status.LOST, mark=9),
        found(Status.FINISHED),
        found(Status.FAILED),
        None,
        SessionCorrupted("chat", "damaged"),
    ],
    ids=["lost", "finished", "failed", "gone", "damaged"],
)
def test_every_verdict_comes_within_a_lease(
    stored: SessionInfo | SessionCorrupted | None,
) -> None:
    """What has become of the session is known within a lease and a few seconds in all orders, by
    events or without them."""

    def is_told(run: Run) -> bool:
        info = run.standing.info
        return (
            run.standing.failure is not None
            or run.standing.is_missing(patient=True)
            or (info is not None and info.status is not Status.ACTIVE)
        )

    for order in ORDERS:
        run = Run().known()
        for name in order:
            INPUTS[name](run)
        run.stored = stored
        _settle(run, order)
        run.until(lambda: is_told(run), within=VERDICT)  # noqa: B023


def test_a_repair_is_seen_while_chunks_keep_coming() -> None:
    """A question about a hole is answered though every chunk is a sign of life."""
    run = Run().known()
    number = run.standing.ask(run.now)
    for n in range(100):
        run.now += 0.01
        run.standing.append(appended(3 + n), 4 + n, run.now)
    assert run.standing.due <= run.now
    run.look()
    assert run.standing.has_answered(number)


@pytest.mark.parametrize(
    ("patient", "known", "removed", "missing"),
    [
        (False, False, False, True),
        (True, False, False, False),
        (False, True, False, False),
        (True, True, False, False),
        *[(patient, known, True, True) for patient, known in product([True, False], repeat=2)],
    ],
)
def test_who_knows_of_the_session_waits_for_it(
    patient: bool, known: bool, removed: bool, missing: bool
) -> None:
    """Who comes with nothing is told at once that there is none; who holds a cursor, or was there,
    waits for a lease; a removal is told to everybody."""
    run = Run()
    if known:
        run.known()
    run.stored = None
    if removed:
        run.standing.change(Removed(), run.now)
    run.look()

    assert (State.GONE if removed else State.AWAY) is run.standing.state
    assert missing is run.standing.is_missing(patient=patient)
    took = run.until(lambda: run.standing.is_missing(patient=patient), within=VERDICT)
    assert (took == 0.0) is missing
    assert missing or took >= LEASE


def test_a_session_that_is_put_back_is_known_again() -> None:
    """Within the lease that its readers wait."""
    run = Run().known()
    run.stored = None
    run.look()
    assert None is run.standing.info
    run.stored = found(mark=2)
    run.until(lambda: run.standing.info is not None, within=LEASE)
    assert State.KNOWN is run.standing.state


def test_no_clock_but_our_own_makes_a_lease_longer() -> None:
    """A lease that nobody renews lapses when it was to, though the store says at every look that it
    has as long to go."""
    run = Run().known()
    run.until(
        lambda: run.standing.info is not None and run.standing.info.status is Status.LOST,
        LEASE + 1.0,
    )


def test_a_release_is_told_at_once() -> None:
    """The session is lost where its producer left it, and is looked at a lease later."""
    run = Run().known()
    run.standing.append(appended(), 4, run.now)
    before = run.standing.turn
    assert not run.standing.change(Released(TERM, 5), run.now)
    assert is_lost(run)
    assert run.standing.info is not None
    assert (Cursor(TERM, 5), 0.0) == (run.standing.info.last, run.standing.info.lease)
    assert run.standing.turn > before
    assert run.now < run.standing.due <= run.now + LEASE + 1.0


def test_a_look_that_began_before_a_release_is_not_believed() -> None:
    """It may say that the lease goes on; another one follows at once."""
    run = Run().known()
    run.standing.begin_look()
    run.standing.change(Released(TERM, 3), run.now)
    run.answer()
    assert is_lost(run)
    assert run.standing.due <= run.now


@pytest.mark.parametrize(
    ("follows", "stored"),
    [
        (Claimed(TERM + 9, 3, LEASE, "g2"), replace(found(), generation="g2", replaced="g1")),
        (Ended(TERM, 3, Status.CANCELLED, None), found(Status.CANCELLED)),
        (Removed(), None),
    ],
    ids=["claim", "cancel", "removal"],
)
@pytest.mark.parametrize("known", [True, False])
def test_what_follows_a_release_is_the_last_word(
    follows: LiveEvent, stored: SessionInfo | None, known: bool
) -> None:
    """Whether or not the session was known when it was released."""
    run = Run()
    if known:
        run.known()
    run.standing.change(Released(TERM, 3), run.now)
    run.standing.change(follows, run.now)
    run.stored = stored
    run.until(
        lambda: (
            run.standing.is_missing(patient=True)
            if stored is None
            else run.standing.info is not None and run.standing.info.status is stored.status
        ),
        within=1.0,
    )


def test_the_release_of_another_claim_is_looked_up() -> None:
    """It says nothing of the one that is known."""
    run = Run().known()
    run.standing.change(Released(TERM + 9, 3), run.now)
    assert not run.standing.trusted
    assert run.standing.due <= run.now
    run.look()
    assert run.standing.info is not None
    assert Status.ACTIVE is run.standing.info.status


def test_renewals_keep_a_session_alive_however_long_it_is_silent() -> None:
    """Each changes what is stored."""
    run = Run().known()
    for mark in range(2, 12):
        run.now += LEASE / 4
        run.stored = found(mark=mark)
        run.look()
        assert run.standing.info is not None
        assert Status.ACTIVE is run.standing.info.status


def test_a_loss_that_is_stored_is_an_end_like_any_other() -> None:
    """A feed has ended the stream: no renewal may follow, so that it is believed at once, and
    nobody looks again."""
    run = Run().known()
    run.stored = replace(found(Status.LOST), lease=None, lease_mark=None)
    run.standing.distrust(run.now)
    run.look()
    assert run.standing.info is not None
    assert Status.LOST is run.standing.info.status
    assert inf == run.standing.due
    run = Run().known()
    run.standing.change(Ended(TERM, 3, Status.LOST, None), run.now)
    assert run.standing.info is not None
    assert (Status.LOST, None) == (run.standing.info.status, run.standing.info.lease)
    assert inf == run.standing.due


def test_a_lease_that_lapsed_while_nobody_watched_gets_a_moment() -> None:
    """The store was away, and producers could not renew: the lapse is believed a moment later,
    once."""
    run = Run().known()
    run.stored = found(Status.LOST, mark=7)
    run.standing.distrust(run.now)
    run.look()
    assert run.standing.info is not None
    assert Status.ACTIVE is run.standing.info.status
    took = run.until(
        lambda: run.standing.info is not None and run.standing.info.status is Status.LOST, 2.0
    )
    assert 0 < took <= 1.0


def test_a_cancel_that_its_producer_did_not_live_to_see_is_to_be_carried_out() -> None:
    """The lost session is handed out to be ended, and is looked at again soon."""
    run = Run().known()
    run.stored = replace(found(Status.LOST, mark=7), cancelling=True)
    run.look()
    assert run.standing.to_end is not None
    assert run.standing.due <= run.now + 2.0


def test_a_claim_that_a_failover_lost_is_waited_for() -> None:
    """The session went back to its former owner: for a lease that is no news, then it is."""
    run = Run()
    run.stored = replace(found(), generation="g2", replaced="g1")
    run.known()
    run.stored = found()
    run.look()
    assert State.AWAY is run.standing.state
    run.until(lambda: run.standing.info is not None, within=VERDICT)
    assert run.standing.known is not None
    assert "g1" == run.standing.known.generation


def test_chunks_that_are_put_back_under_an_earlier_term_are_no_reason_for_doubt() -> None:
    """A log of two terms that is written again tells of the first one's chunks, too."""
    run = Run()
    terms = Terms.first(TERM).continued(TERM + 5, 2)
    run.stored = replace(found(), terms=terms, last=Cursor(TERM + 5, 3))
    run.known()
    assert run.standing.append(appended(0, TERM), 1, run.now) is not None
    assert run.standing.trusted
    assert None is run.standing.append(appended(0, TERM + 9), 1, run.now)
    assert not run.standing.trusted
