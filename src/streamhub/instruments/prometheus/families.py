"""Every metric: its name, its help, its labels and its buckets.

No label ever holds what a user chooses, such as a session, an owner or a feed: each has the few
values that its help names, and stores are as few.
"""

from __future__ import annotations

import os
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Families", "multiprocess_directory"]

_FAST = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 5, 15)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_TAKEOVERS = ("restart", "continue", "resume")
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)


def multiprocess_directory() -> str | None:
    """Where the processes of a server keep their metrics together; None where each has its own."""
    return os.environ.get("PROMETHEUS_MULTIPROC_DIR") or None


class Families:
    """The metrics in one registry.

    Gauges of several processes are added up; ``store_up`` is that of the process that is worst off.
    """

    #: The buckets of what each round of the writer brings.
    FAST, COUNTS = _FAST, _COUNTS

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(
            name: str, told: str, label: str = "", values: tuple[str, ...] = (), unit: str = ""
        ) -> Counter:
            labels = (label,) if label else ()
            made = Counter(f"streamhub_{name}", told, labels, unit=unit, registry=registry)
            for value in values:
                # From the beginning: what rises from nothing is no increase to Prometheus.
                made.labels(value)
            return made

        def seconds(name: str, told: str, buckets: tuple[float, ...] = _FAST) -> Histogram:
            return Histogram(
                f"streamhub_{name}", told, unit="seconds", buckets=buckets, registry=registry
            )

        def gauge(
            name: str,
            told: str,
            mode: Literal["livesum", "livemin"] = "livesum",
            *labels: str,
            unit: str = "",
        ) -> Gauge:
            name = f"streamhub_{name}"
            return Gauge(name, told, labels, unit=unit, multiprocess_mode=mode, registry=registry)

        self.claims: Counter = counter(
            "claims",
            "Sessions that were claimed here, by takeover (restart, continue, resume).",
            "takeover",
            _TAKEOVERS,
        )
        self.claims_refused: Counter = counter("claims_refused", "Claims that were refused.")
        self.claim_seconds: Histogram = seconds(
            "claim", "How long claims took, those that were refused too."
        )
        self.takeovers: Counter = counter(
            "takeovers",
            "Claims that replaced another generation, by takeover (restart, continue, resume).",
            "takeover",
            _TAKEOVERS,
        )
        self.first_chunk_seconds: Histogram = seconds(
            "first_chunk", "From a claim until its first chunk was stored.", _SLOW
        )
        self.session_seconds: Histogram = seconds("session", "How long claims lasted.", _SLOW)
        self.ended: Counter = counter(
            "sessions_ended",
            "Ends that were stored here, by status (finished, failed, cancelled).",
            "status",
            ("finished", "failed", "cancelled"),
        )
        self.releases: Counter = counter(
            "releases",
            "Sessions that were let go for others, by kind: handed_over, in_vain (a resume failed) "
            "or abandoned (the store does not know).",
            "kind",
            ("handed_over", "in_vain", "abandoned"),
        )
        self.fences: Counter = counter("fences", "Producers whose session had become another's.")
        self.given_up: Counter = counter(
            "sessions_given_up", "Producers that could not write to the store any more."
        )
        self.losses: Counter = counter(
            "losses",
            "Sessions that were found lost here; each process that reads one counts it once.",
        )
        self.store_losses: Counter = counter(
            "store_losses", "How often the store had lost something of a session produced here."
        )
        self.repairs: Counter = counter("repairs", "Sessions that were put back into the store.")
        self.cancels_requested: Counter = counter(
            "cancels_requested", "Cancels that were asked for here."
        )
        self.cancels_noticed: Counter = counter(
            "cancels_noticed", "Producers here that noticed a cancel."
        )

        self.rounds: Counter = counter(
            "rounds", "Round trips with chunks that set out to the store."
        )
        self.round_chunks: Histogram = Histogram(
            "streamhub_round_chunks",
            "How many chunks a round trip stored.",
            buckets=_COUNTS,
            registry=registry,
        )
        self.stored_chunks: Counter = counter("stored_chunks", "Chunks that were stored.")
        self.stored_bytes: Counter = counter(
            "stored", "UTF-8 bytes of the chunks that were stored.", unit="bytes"
        )
        self.write_seconds: Histogram = seconds("write", "How long round trips with chunks took.")
        self.publish_to_store_seconds: Histogram = seconds(
            "publish_to_store", "From publishing until stored, of the oldest chunk of a round trip."
        )
        self.publish_to_delivery_seconds: Histogram = seconds(
            "publish_to_delivery",
            "From publishing until it had come back from the store to those who read it, of one "
            "chunk of a round trip, where producer and readers are in one process.",
        )
        self.store_failures: Counter = counter(
            "store_failures",
            "What the store could not do, by what it was (write, renew, look, claim, ask).",
            "doing",
            ("write", "renew", "look", "claim", "ask"),
        )

        self.subscriptions: Counter = counter(
            "subscriptions", "Subscribers that found their session."
        )
        self.subscriptions_ended: Counter = counter(
            "subscriptions_ended",
            "Subscribers that left or came to the end, by the status of the stream then (active "
            "where they left before its end).",
            "status",
            ("active", "finished", "failed", "cancelled", "lost"),
        )
        self.read_chunks: Counter = counter(
            "read_chunks", "Chunks that subscribers read on by; counted when they leave."
        )
        self.replays: Counter = counter(
            "replays", "Subscribers that were given all that was stored when they came."
        )
        self.replayed_chunks: Counter = counter(
            "replayed_chunks", "Chunks of replays, and of catching up afterwards."
        )
        self.replay_seconds: Histogram = seconds(
            "replay", "How long replays took, pauses of readers included."
        )
        self.fell_behind: Counter = counter(
            "fell_behind", "How often a subscriber was too slow for the chunks that are held."
        )
        self.caught_up: Counter = counter(
            "caught_up", "How often one of these was up to date again."
        )

        self.connects: Counter = counter(
            "store_connects", "Connections to the store that were opened."
        )
        self.reconnects: Counter = counter(
            "store_reconnects", "Those of them that replaced one that was gone."
        )
        self.disconnects: Counter = counter(
            "store_disconnects", "Connections to the store that broke off."
        )

        self.ends_handed_out: Counter = counter(
            "ends_handed_out", "Ends that workers of feeds got."
        )
        self.ends_done: Counter = counter("ends_done", "Ends that workers of feeds were done with.")
        self.ends_returned: Counter = counter(
            "ends_returned",
            "Ends that were given back or up, by outcome: again (after a while), back (at once), "
            "dead (never), fenced (another worker has it).",
            "outcome",
            ("again", "back", "dead", "fenced"),
        )
        self.end_age_seconds: Histogram = seconds(
            "end_age", "How old ends were when a worker first got them.", _SLOW
        )

        self.messages_sent: Counter = counter(
            "messages_sent", "Messages that were put into an inbox here."
        )
        self.messages_received: Counter = counter(
            "messages_received", "Messages that producers here took out of their inboxes."
        )

        # With a label, so that a process in which no hub is used says nothing of any store.
        self.store_up: Gauge = gauge(
            "store_up",
            "0 where the store did not answer when it was last asked, by its address.",
            "livemin",
            "store",
        )
        self.hubs: Gauge = gauge("hubs", "Hubs that are in use.")
        self.active_sessions: Gauge = gauge("active_sessions", "Sessions that are produced now.")
        self.followed_sessions: Gauge = gauge(
            "followed_sessions", "Sessions that are read or waited for; once in each process."
        )
        self.subscribers: Gauge = gauge("subscribers", "Who reads sessions, or waits for them.")
        self.pending_bytes: Gauge = gauge(
            "pending", "UTF-8 bytes that were published and are not stored yet.", unit="bytes"
        )
        self.connections: Gauge = gauge(
            "store_connections", "Connections to the store that are open."
        )
        self.sources: Gauge = gauge("sources", "Sources of hub.run that have not ended.")
        self.tasks: Gauge = gauge("tasks", "Tasks for single sessions.")
        self.loop_lag_seconds: Histogram = seconds(
            "event_loop_lag", "How late a timer was called; twice a second."
        )
