"""The limits and times that a hub keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from socket import gethostname

__all__ = ["HubConfig"]

KiB = 1024
MiB = 1024 * KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class HubConfig:
    """Limits and times of a hub. Times are seconds, sizes are UTF-8 bytes.

    :raises ValueError: a value is not a positive number (``linger`` may be 0), or the prefix cannot
        be part of a key.
    """

    #: How long a claim outlives its producer's last sign of life.
    lease: float = 15.0
    #: How long a session can be read after its end, or after its producer was lost.
    retention: float = 3600.0
    #: The largest chunk (data and event type together) and the largest metadata that are accepted.
    max_chunk_bytes: int = 1 * MiB
    #: The most that one epoch of a session may hold. A chunk counts as at least one byte.
    max_stream_bytes: int = 16 * MiB
    #: How much of a stream may wait to be stored before ``publish`` waits too, and how much of
    #: it is kept in memory for subscribers that lag behind.
    max_pending_bytes: int = 1 * MiB
    #: How many messages may wait for a producer, and how much they may take together, before
    #: ``send`` is refused.
    max_inbox_messages: int = 256
    max_inbox_bytes: int = 1 * MiB
    #: How long chunks may gather before they are stored together: fewer round trips for so much
    #: delay. Nothing that somebody waits for lingers, be it ``flush``, an end or metadata. With 0,
    #: chunks of several busy streams still gather for up to 4 ms; those of one do not.
    linger: float = 0.0
    #: How long an unavailable store is retried before writers and subscribers get the error.
    give_up_after: float = 60.0
    #: What every key and channel begins with.
    key_prefix: str = "streamhub:"
    #: What the records of sessions say of where their producer runs, for ``SessionInfo.host``; by
    #: default the name of the machine. With ``""`` they say nothing.
    host: str = field(default_factory=gethostname)
    #: Whether this hub says in the store how many follow each session here, for
    #: ``SessionInfo.subscribers``: one look and one small write a lease for each session that is
    #: followed, however many follow it.
    count_subscribers: bool = False

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in ("key_prefix", "host", "count_subscribers"):
                continue
            unit = one.name.rpartition("_")[2]
            whole = unit in ("bytes", "messages")
            kinds = (int,) if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds):
                kind = f"a whole number of {unit}" if whole else "a number of seconds"
                raise ValueError(f"{one.name} must be {kind}, not {value!r}")
            if one.name == "linger" and value == 0:
                continue
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{one.name} must be positive and finite, not {value!r}")
        if not isinstance(self.count_subscribers, bool):
            raise ValueError(
                f"count_subscribers must be True or False, not {self.count_subscribers!r:.100}"
            )
        if self.lease < 0.05:
            raise ValueError(f"lease must be at least 0.05 seconds, not {self.lease!r}")
        if self.linger > self.lease:
            raise ValueError(
                f"linger must be at most the lease of {self.lease!r} seconds, not {self.linger!r}"
            )
        if not isinstance(self.host, str) or len(self.host) > 255 or not self.host.isprintable():
            raise ValueError(
                f"host must be printable text of at most 255 characters, not {self.host!r:.300}"
            )
        if not isinstance(self.key_prefix, str) or not self.key_prefix.isprintable():
            raise ValueError(f"key_prefix must be printable text, not {self.key_prefix!r}")
        if "{" in self.key_prefix or "}" in self.key_prefix:
            raise ValueError(
                f"key_prefix must not hold braces, which pick a session's cluster slot: "
                f"{self.key_prefix!r}"
            )
