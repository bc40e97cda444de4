"""What a hub holds at a moment."""

from __future__ import annotations

import msgspec

__all__ = ["HubStatistics"]


class HubStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a hub holds now, in this process; all of it is 0 in one that was never used, or is
    closed, or belongs to the process that this one was forked from. For metrics, and for tests that
    nothing stays behind."""

    #: Sessions that somebody here reads or waits for; they share what is known of each.
    sessions_followed: int = 0
    #: Who does: subscriptions, and calls such as ``wait`` and ``get(wait=…)``.
    subscribers: int = 0
    #: Sessions that are produced here, their ends included until these are stored.
    producers: int = 0
    #: Sources of ``run`` that have not ended.
    sources: int = 0
    #: Claims under way.
    claims: int = 0
    #: UTF-8 bytes that were published and are not in the store yet.
    pending_bytes: int = 0
    #: Connections to the store that are open.
    connections: int = 0
    #: Tasks for single sessions: sources, cancels, reads of the log. The three of the hub itself
    #: and those of the store are not among them.
    tasks: int = 0
    #: Whether the store failed to write, renew or look when that was tried last, of any session:
    #: what is pending waits for it. A hub that asks nothing does not know.
    store_failing: bool = False
    #: How many seconds late the event loop has run what was due, the longest of the last ten
    #: seconds. Measured in hubs with instruments only.
    loop_lag: float = 0.0
