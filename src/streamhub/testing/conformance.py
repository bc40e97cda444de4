"""The suite as a store's author runs it: one class to inherit from, and three for more."""

from __future__ import annotations

from .hub.cancelling import CancellingTests
from .hub.crashing import CrashingTests
from .hub.ending import EndingTests
from .hub.outages import OutageTests
from .hub.producing import ProducingTests
from .hub.reading import ReadingTests
from .hub.receiving import InboxRepairTests, ReceivingTests
from .hub.repairing import DamageTests, RollbackTests, WipeTests
from .hub.running import RunningTests
from .store.claims import ClaimTests
from .store.ends import EndTests
from .store.feed_repairs import FeedRepairTests
from .store.feeds import FeedTests
from .store.inboxes import InboxTests
from .store.reads import ReadTests
from .store.restores import RestoreTests
from .store.resumes import ResumeTests
from .store.schedules import ScheduleTests
from .store.watches import WatchTests
from .store.writes import WriteTests

__all__ = [
    "DamageConformance",
    "FeedConformance",
    "FeedRepairConformance",
    "InboxConformance",
    "InboxRepairConformance",
    "RollbackConformance",
    "StoreConformance",
    "WipeConformance",
]


class StoreConformance(
    ClaimTests,
    WriteTests,
    EndTests,
    RestoreTests,
    ReadTests,
    WatchTests,
    ProducingTests,
    ReadingTests,
    EndingTests,
    CrashingTests,
    CancellingTests,
    OutageTests,
    RunningTests,
):
    """What any store must pass: the words of ``streamhub.stores.base``, and the guarantees of a
    hub on top of it.

    Inherit from it, and define the fixture ``backend``::

        class MyBackend(Backend):
            def open(self) -> Store:
                return MyStore("…")

        class TestMyStore(StoreConformance):
            @pytest.fixture
            def backend(self) -> Backend:
                return MyBackend()

    A test that names a guarantee of the hub begins with its number, as ``test_g3_…``. Every test
    uses sessions of its own, so the data may be shared, and tests may run in parallel.
    """


class FeedConformance(FeedTests, ScheduleTests, ResumeTests):
    """In addition, for stores that have feeds: the words of ``streamhub.stores.feeds``.

    A feed keeps what all others claim, so these tests need data that no other test uses.
    """


class FeedRepairConformance(FeedRepairTests):
    """In addition, for stores with feeds whose data can be lost while a producer lives.

    The backend needs ``wipe``.
    """


class WipeConformance(WipeTests):
    """In addition, for stores whose data can be lost while a producer lives: G7.

    The backend needs ``wipe``, so these tests need data that no other test uses.
    """


class RollbackConformance(RollbackTests):
    """In addition, for stores that can fall back to older data, as in a failover: G7.

    The backend needs ``snapshot``, so these tests need data that no other test uses.
    """


class DamageConformance(DamageTests):
    """In addition, for stores that can lose a part of a session's log.

    The backend needs ``drop_chunk``.
    """


class InboxConformance(InboxTests, ReceivingTests):
    """In addition, for stores that keep inboxes."""


class InboxRepairConformance(InboxRepairTests):
    """In addition, for stores that keep inboxes, and can lose data or fall back to older: G7.

    The backend needs ``wipe`` and ``snapshot``, so these tests need data that no other test uses.
    """
