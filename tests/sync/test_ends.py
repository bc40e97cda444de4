"""Feeds of ends, worked on in threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from streamhub import EndFenced, HubClosed, Status
from streamhub.ends import hold
from streamhub.sync import Hub, TakenEnd
from streamhub.testing.waiting import patience


def test_a_thread_works_on_ends(hub: Hub, session_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not done comes again, what fails is listed and may be retried, and what is done is
    done."""
    monkeypatch.setattr(hold, "_FIRST_RETRY", 0.02)
    hub.run(session_id, ["a", "b"], metadata={"n": 1}).wait(patience())
    with hub.ends("save") as ends:
        first = next(ends)
        again = next(ends)
        assert (first.key, "ab", 2, {"n": 1}) == (
            again.key, again.text, again.attempt, again.metadata,
        )  # fmt: skip
        with pytest.raises(EndFenced):
            first.done()
        again.fail("no disk")
        (dead,) = hub.ends("save").dead()
        assert (session_id, "no disk") == (dead.session_id, dead.error)
        assert dead.retry()
        for end in ends:
            end.done()
            end.done()
            break
    assert [] == list(hub.ends("save").dead())


def test_closing_the_hub_ends_the_wait_and_lets_what_is_in_hand_be_done(
    hub: Hub, session_id: str
) -> None:
    """A thread that waits hears ``HubClosed``; one that saves may still say that it did."""
    hub.run(session_id, ["a"]).wait(patience())
    saving, go_on = threading.Event(), threading.Event()
    ended: list[TakenEnd] = []

    def work() -> None:
        with hub.ends("save", lease=300.0) as ends:
            for end in ends:
                saving.set()
                assert go_on.wait(patience())
                end.done()
                ended.append(end)

    with ThreadPoolExecutor() as threads:
        working = threads.submit(work)
        assert saving.wait(patience())
        closing = threads.submit(hub.close)
        go_on.set()
        closing.result(patience())
        with pytest.raises(HubClosed):
            working.result(patience())

    assert [Status.FINISHED] == [end.status for end in ended]
