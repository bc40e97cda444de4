"""The proofs, against records that break each guarantee: one that cannot fail proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import record
from .checker import READERS, Violation, assert_holds, violations
from .figures import figures
from .good_record import (
    EPOCH,
    GOOD,
    LEASE,
    claimed,
    closed,
    closing,
    delivered,
    ended,
    fault,
    later,
    opened,
    published,
    published_in,
    raised,
    stopped,
    stored,
    with_,
    without,
)
from .judged_records import BAD, EXCUSED, STORED
from .record import Event, Record, read


def broken(events: list[Event]) -> list[str]:
    in_order = sorted(events, key=lambda event: event.at)
    return [violation.guarantee for violation in violations(in_order, LEASE)]


def test_a_record_without_a_fault_is_accepted() -> None:
    """A death, a takeover and two readers that read on."""
    assert [] == broken(GOOD)


@pytest.mark.parametrize(("guarantee", "events"), BAD.values(), ids=BAD)
def test_a_broken_guarantee_is_named(guarantee: str, events: list[Event]) -> None:
    """One thing is changed in the good record; the guarantee it breaks is among the violations."""
    assert guarantee in broken(events)


@pytest.mark.parametrize("events", EXCUSED.values(), ids=EXCUSED)
def test_what_nobody_promises_is_no_violation(events: list[Event]) -> None:
    """What a fault excuses, and only that."""
    assert [] == broken(events)


#: Of five chunks two were lost with their producer after two readers had read them; another one
#: continued in their place. Whoever had read them is told, and begins again.
LOST_TAIL: list[Event] = [
    claimed(1.0, "a"),
    *(published(1.1, "a", n) for n in (1, 2, 3)),
    *(published_in(1.1, "a", n, EPOCH) for n in (4, 5)),
    opened(1.2),
    *(delivered(1.3, n, f"a{n}", term=EPOCH) for n in (1, 2, 3, 4, 5)),
    stopped(2.0, "a"),
    *fault(2.0, 2.1, wipes=True),
    raised(3.0, "ProducerLost"),
    claimed(3.2, "b", base=3),
    *(published(3.3, "b", n) for n in (4, 5, 6)),
    opened(3.4, after=(EPOCH, 5)),
    raised(3.5, "StreamReplaced"),
    opened(3.6),
    *(delivered(3.7, n, f"{'a' if n < 4 else 'b'}{n}") for n in (1, 2, 3, 4, 5, 6)),
    closing(4.0, "b"),
    closed(4.1, "b"),
    ended(4.2),
    stored("a1", "a2", "a3", "b4", "b5", "b6"),
]


def told(events: list[Event]) -> list[str]:
    in_order = sorted(events, key=lambda event: event.at)
    return [str(violation) for violation in violations(in_order, LEASE)]


def test_who_is_told_of_a_lost_tail_and_begins_again_is_not_glued() -> None:
    """Though the cursors of what was lost, and what stands there now, have the same offsets."""
    assert [] == told(LOST_TAIL)


def test_a_glued_text_is_a_verdict() -> None:
    """Chunks of two terms that the log does not hold in that order: who had read the lost chunks
    is handed what comes after them now, as if nothing had happened."""
    kept = [event for event in LOST_TAIL if event.at <= 3.4 or event.at >= 4.0]
    (glued,) = [line for line in told([*kept, delivered(3.7, 6, "b6")]) if "glued" in line]
    assert "G3 is broken in chat: glued: the text of r has 'a5' before 'b6'" in glued
    assert glued.endswith("where the log has 'b5'")


def test_a_glued_text_is_a_verdict_without_a_log() -> None:
    """The session was removed afterwards: another reader's text tells what the log had."""
    other = [
        opened(3.4, "new"),
        *(delivered(3.5, n, f"{'a' if n < 4 else 'b'}{n}", "new") for n in (1, 2, 3, 4, 5, 6)),
        raised(3.9, "SessionNotFound", "new"),
    ]
    kept = [event for event in LOST_TAIL if event.at <= 3.4]
    events = [*kept, *other, delivered(3.7, 6, "b6"), raised(3.9, "SessionNotFound")]
    assert any("glued: the text of " in line for line in told(events))


def test_one_cursor_for_two_chunks_is_a_verdict() -> None:
    """Also where the store has lost what nobody could put back."""
    twice = [event for event in LOST_TAIL if event != delivered(3.7, 4, "b4")]
    said = told([*twice, delivered(3.7, 4, "b4", term=EPOCH)])
    assert any("G3 is broken in chat: 1000-4 named 'a4' and 'b4'" in line for line in said)


def test_a_reader_that_hangs_is_a_verdict() -> None:
    """It waits for longer than lease and five seconds, for whatever it was that should come."""
    for last in (opened(3.4, after=(EPOCH, 5)), delivered(1.3, 5, "a5", term=EPOCH)):
        kept = [
            event for event in LOST_TAIL if not last.at < event.at < 90 or event.at in (3.2, 3.3)
        ]
        kept = [event for event in kept if getattr(event, "reader", "r") == "r"]
        (hanging,) = [
            line for line in told([*kept, record.Keys(at=9.5, count=2)]) if "hang" in line
        ]
        assert "G8 is broken in chat: hanging: r waited for " in hanging


def test_who_has_paused_does_not_hang() -> None:
    """It waits for nobody; once it goes on, it does."""
    pause = record.Paused(at=1.35, session="chat", reader="r")
    on = record.Resumed(at=91.0, session="chat", reader="r")
    kept = [event for event in LOST_TAIL if event.at < 2.5]
    paused = [*kept, pause, record.Keys(at=99.0, count=2)]
    assert [] == [line for line in told(paused) if "hang" in line]
    assert 1 == len([line for line in told([*paused, on]) if "hang" in line])


def test_a_fault_that_lasts_delays_the_verdict() -> None:
    """By as long as it was at work, and so does a machine that is late; by no more."""
    kept = [event for event in LOST_TAIL if event.at < 2.5]
    late = [record.Lagged(at=5.0, process=READERS, seconds=2.0), *fault(5.0, 8.0)]
    # From 1.3 on: lease and five seconds, and the 0.1 s, 2 s and 3 s above.
    for seconds, hangs in ((11.0, 0), (11.2, 1)):
        waited = [*kept, *late, record.Keys(at=1.3 + seconds, count=2)]
        assert hangs == len([line for line in told(waited) if "hang" in line])


def test_patience_is_given_to_what_may_come_later() -> None:
    """Where several faults follow each other, or the machine is slow: to the death that shows, to
    the lapse of a living producer, and to the verdict; no longer than that."""
    late = sorted(later(3.0), key=lambda event: event.at)
    lapsed = [
        *with_(raised(4.15, "ProducerLost"), opened(4.16, after=(EPOCH + 3, 5))),
        *fault(0.5, 0.6, lapses=True),
    ]
    lapsed.sort(key=lambda event: event.at)
    waits = [event for event in LOST_TAIL if event.at < 2.5]
    waits = [*sorted(waits, key=lambda event: event.at), record.Keys(at=9.0, count=2)]
    for events in (late, lapsed, waits):
        assert [] != [one for one in violations(events, LEASE) if one.guarantee == "G8"]
        assert [] == [
            one for one in violations(events, LEASE, patience=6.0) if one.guarantee == "G8"
        ]


def test_a_violation_says_where_and_what() -> None:
    """The first ones are in the message of the assertion, with their facts."""
    _, events = BAD["a chunk is skipped"]
    in_order = sorted(events, key=lambda event: event.at)
    assert Violation("G3", "chat", "r was handed 3 after 1") == violations(in_order, LEASE)[0]
    with pytest.raises(AssertionError, match="G3 is broken in chat: r was handed 3 after 1"):
        assert_holds(in_order, LEASE)


def test_figures_count_what_went_wrong() -> None:
    """Lost, doubled, out of order and stale are told apart; recovery is timed from the end of
    the fault to each reader's next chunk."""
    good = figures(sorted([*GOOD, *fault(3.5, 3.6)], key=lambda event: event.at))
    assert (5, 10, 0, 0, 0, 0) == good[:6]
    assert pytest.approx([0.5, 0.5]) == sorted(good.recovery["it"])
    events = [
        *without(delivered(4.1, 5, "b5"), delivered(1.91, 2, "a2", "late"), STORED),
        delivered(1.85, 2, "a2"),
        delivered(1.95, 2, "a2", "late"),
        published(1.45, "a", 4),
        stored("a1", "a2", "a3", "a4", "b5"),
    ]
    bad = figures(sorted(events, key=lambda event: event.at))
    assert (1, 1, 1, 1) == (bad.lost, bad.doubled, bad.out_of_order, bad.stale)


def test_what_continues_after_a_cancel_is_not_lost_to_whom_it_ended_for() -> None:
    """The one who heard the end in between has all that there was; what he lacks of that counts."""
    after = [
        record.CancelAsked(at=3.25, session="chat"),
        *(event for event in GOOD if event.at < 3.25 or event.at > 3.3),
    ]
    heard = [event for event in after if getattr(event, "reader", "") != "r" or event.at < 3.05]
    in_between = [*heard, opened(3.21, after=(EPOCH, 3)), ended(3.22, "cancelled")]
    ordered = sorted(in_between, key=lambda event: event.at)
    assert 0 == figures(ordered).lost
    lacking = [event for event in ordered if event != delivered(1.8, 3, "a3")]
    assert 1 == figures(lacking).lost


def test_who_continues_after_a_cancel_may_close_without_a_chunk() -> None:
    """No claim is known of it then, only the close; one from before the cancel is no excuse."""
    answered = record.CancelAnswered(at=5.0, session="chat", status="cancelled")
    forgotten = with_(record.CancelAsked(at=4.9, session="chat"), answered)
    assert ["G9"] == broken(forgotten)
    assert [] == broken([*forgotten, closing(5.1, "c"), closed(5.2, "c")])
    assert ["G9"] == broken([*forgotten, closing(1.0, "c"), closed(1.1, "c")])


def test_events_of_several_processes_are_put_in_order(tmp_path: Path) -> None:
    """Also those of one that was killed in the middle of a line."""
    path = tmp_path / "record"
    other = Record(path)
    for event in GOOD[::2]:
        other.add(event)
    other.close()
    with path.open("ab") as file:
        file.write(b'{"type":"Clai')
    expected = sorted(GOOD, key=lambda event: event.at)
    assert expected == sorted(read(GOOD[1::2], [path]), key=expected.index)
