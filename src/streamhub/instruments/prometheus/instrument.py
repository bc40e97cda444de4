"""Counts what a hub tells, and looks at what it holds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Metric

from ..events import Closed, Event, Opened
from .counting import counters
from .families import Families
from .store_watch import StoreWatch
from .tallies import Tallies

__all__ = ["PrometheusInstrument", "refresh"]

# How often gauges are renewed and the event loop is timed, in seconds.
_INTERVAL: Final = 0.5


class PrometheusInstrument:
    """An instrument for hubs: ``Hub(…, instruments=[PrometheusInstrument()])``.

    Its metrics stand in ``registry``, once, however many instruments share it, and all hubs are
    added up. Several hubs of one store may share an instrument, too. Where
    ``PROMETHEUS_MULTIPROC_DIR`` is set, each process writes there, as with all that
    ``prometheus_client`` counts.

    Gauges are what ``hub.statistics()`` says: at the moment in which the registry is read, and with
    several processes half a second before. ``streamhub_store_up`` is what was last heard of the
    store, which is asked where nothing was for 5 seconds.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._shared = _shared_of(registry)
        self._watch = StoreWatch()
        self._count = counters(self._shared.families, self._shared.tallies, self._watch)
        self._rounds: dict[int, _Rounds] = {}

    def __repr__(self) -> str:
        return "<PrometheusInstrument>"

    def __call__(self, event: Event) -> None:
        count = self._count.get(type(event))
        if count is not None:
            count(event)
        elif isinstance(event, Opened):
            self._shared.open(event, self._watch)
            self._rounds[event.hub] = _Rounds(event, self._watch, self._shared)
        elif isinstance(event, Closed):
            self._shared.close(event)
            if (rounds := self._rounds.pop(event.hub, None)) is not None:
                rounds.stop()


def refresh(registry: CollectorRegistry) -> None:
    """Have the gauges in ``registry`` say what holds now."""
    if (shared := _all_shared.get(registry)) is not None:
        shared.refresh()


class _Shared:
    """What all instruments of one registry share. The registry reads it before all its metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # First: the gauges are read after it.
        registry.register(self)
        self.families = Families(registry)
        self.tallies = Tallies(self.families)
        #: Of the hubs that are open in this process, by their numbers, and what is known of their
        #: stores.
        self._hubs: dict[int, tuple[Opened, StoreWatch]] = {}
        self._process = os.getpid()

    def open(self, opened: Opened, watch: StoreWatch) -> None:
        self._forget_parent()
        self._hubs[opened.hub] = (opened, watch)

    def close(self, closed: Closed) -> None:
        self._hubs.pop(closed.hub, None)
        # Nobody knows any more.
        self.families.store_up.labels(closed.store).set(1)
        self.refresh()

    def collect(self) -> Iterable[Metric]:
        self.refresh()
        return ()

    def describe(self) -> Iterable[Metric]:
        return ()

    def refresh(self) -> None:
        """May be called in any thread."""
        self._forget_parent()
        self.tallies.give_on()
        hubs = [*self._hubs.values()]
        held = [opened.statistics() for opened, _ in hubs]
        of = self.families
        for opened, _ in hubs:
            up = all(watch.up for other, watch in hubs if other.store == opened.store)
            of.store_up.labels(opened.store).set(up)
        of.hubs.set(len(held))
        of.active_sessions.set(sum(one.producers for one in held))
        of.followed_sessions.set(sum(one.sessions_followed for one in held))
        of.subscribers.set(sum(one.subscribers for one in held))
        of.pending_bytes.set(sum(one.pending_bytes for one in held))
        of.connections.set(sum(one.connections for one in held))
        of.sources.set(sum(one.sources for one in held))
        of.tasks.set(sum(one.tasks for one in held))

    def _forget_parent(self) -> None:
        """Drop the hubs of the process that this one was forked from: nothing is heard of them."""
        if self._process != os.getpid():
            self._process = os.getpid()
            for opened, _ in self._hubs.values():
                self.families.store_up.labels(opened.store).set(1)
            self._hubs.clear()


class _Rounds:
    """Goes round in a hub's event loop while that is open: times it, renews the gauges, and has the
    store asked."""

    def __init__(self, opened: Opened, watch: StoreWatch, shared: _Shared) -> None:
        self._opened = opened
        self._watch = watch
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._timer = self._loop.call_at(self._due, self._go)

    def stop(self) -> None:
        self._timer.cancel()

    def _go(self) -> None:
        now = self._loop.time()
        self._shared.families.loop_lag_seconds.observe(max(0.0, now - self._due))
        if self._watch.is_to_be_asked(now):
            self._opened.ask()
        self._shared.refresh()
        self._due = self._loop.time() + _INTERVAL
        self._timer = self._loop.call_at(self._due, self._go)


_all_shared: WeakKeyDictionary[CollectorRegistry, _Shared] = WeakKeyDictionary()


def _shared_of(registry: CollectorRegistry) -> _Shared:
    shared = _all_shared.get(registry)
    if shared is None:
        shared = _all_shared[registry] = _Shared(registry)
    return shared
