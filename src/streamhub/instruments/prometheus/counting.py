"""What each kind of event adds to the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import events
from .families import Families
from .store_watch import StoreWatch
from .tallies import Tallies

__all__ = ["counters"]


def counters(
    of: Families, tallies: Tallies, watch: StoreWatch
) -> dict[type, Callable[[Any], None]]:
    """By the type of an event, what is called with it."""

    def stored(event: events.Stored) -> None:
        watch.answers()
        tallies.stored(event)

    def claimed(event: events.Claimed) -> None:
        watch.answers()
        of.claims.labels(event.takeover).inc()
        of.claim_seconds.observe(event.seconds)

    def taken_over(event: events.TakenOver) -> None:
        of.takeovers.labels(event.takeover).inc()

    def refused(event: events.Refused) -> None:
        watch.answers()
        of.claims_refused.inc()
        of.claim_seconds.observe(event.seconds)

    def first_stored(event: events.FirstStored) -> None:
        of.first_chunk_seconds.observe(event.seconds)

    def ended(event: events.Ended) -> None:
        of.ended.labels(event.status.value).inc()
        of.session_seconds.observe(event.seconds)

    def released(event: events.Released) -> None:
        kind = "abandoned" if event.abandoned else "in_vain" if event.in_vain else "handed_over"
        of.releases.labels(kind).inc()
        of.session_seconds.observe(event.seconds)

    def fenced(event: events.Fenced) -> None:
        of.fences.inc()
        of.session_seconds.observe(event.seconds)

    def given_up(event: events.GivenUp) -> None:
        of.given_up.inc()
        of.session_seconds.observe(event.seconds)

    def store_failed(event: events.StoreFailed) -> None:
        if event.away:
            watch.fails()
        of.store_failures.labels(event.doing).inc()

    def store_answered(_: events.StoreAnswered) -> None:
        watch.answers()

    def replayed(event: events.Replayed) -> None:
        of.replays.inc()
        of.replayed_chunks.inc(event.chunks)
        of.replay_seconds.observe(event.seconds)

    def caught_up(event: events.CaughtUp) -> None:
        of.caught_up.inc()
        of.replayed_chunks.inc(event.chunks)

    def unsubscribed(event: events.Unsubscribed) -> None:
        of.subscriptions_ended.labels(event.status.value).inc()
        of.read_chunks.inc(event.chunks)

    def connected(event: events.Connected) -> None:
        of.connects.inc()
        if event.again:
            of.reconnects.inc()

    def end_handed_out(event: events.EndHandedOut) -> None:
        of.ends_handed_out.inc()
        if event.attempt == 1:
            of.end_age_seconds.observe(event.age)

    def end_returned(event: events.EndReturned) -> None:
        of.ends_returned.labels(event.outcome).inc()

    def each(counter: Any) -> Callable[[Any], None]:
        return lambda _: counter.inc()

    return {
        events.Published: tallies.published,
        events.Stored: stored,
        events.Delivered: tallies.delivered,
        events.StoreFailed: store_failed,
        events.StoreAnswered: store_answered,
        events.Claimed: claimed,
        events.TakenOver: taken_over,
        events.Refused: refused,
        events.FirstStored: first_stored,
        events.Ended: ended,
        events.Released: released,
        events.Fenced: fenced,
        events.GivenUp: given_up,
        events.Lost: each(of.losses),
        events.DataLost: each(of.store_losses),
        events.Repaired: each(of.repairs),
        events.CancelRequested: each(of.cancels_requested),
        events.CancelNoticed: each(of.cancels_noticed),
        events.Subscribed: each(of.subscriptions),
        events.Replayed: replayed,
        events.FellBehind: each(of.fell_behind),
        events.CaughtUp: caught_up,
        events.Unsubscribed: unsubscribed,
        events.Connected: connected,
        events.Disconnected: each(of.disconnects),
        events.EndHandedOut: end_handed_out,
        events.EndDone: each(of.ends_done),
        events.EndReturned: end_returned,
        events.MessageSent: each(of.messages_sent),
        events.MessageReceived: each(of.messages_received),
    }
