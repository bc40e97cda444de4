"""The suite as a store's author runs it: one class to inherit from, and some for more.

The tests are async and run by the pytest plugin of anyio, which comes with it.
"""

from __future__ import annotations

try:
    import pytest
except ModuleNotFoundError as _missing:
    raise ModuleNotFoundError(
        'streamhub.testing.conformance needs pytest: pip install "streamhub-llm[testing]"',
        name=_missing.name,
    ) from None

# Before they are imported: a failed assertion is to show its values wherever the suite is run.
pytest.register_assert_rewrite("streamhub.testing.hub", "streamhub.testing.store")

from .backend import Backend  # noqa: E402
from .hub.cancelling import CancellingTests  # noqa: E402
from .hub.crashing import CrashingTests  # noqa: E402
from .hub.ending import EndingTests  # noqa: E402
from .hub.outages import OutageTests  # noqa: E402
from .hub.producing import ProducingTests  # noqa: E402
from .hub.reading import ReadingTests  # noqa: E402
from .hub.receiving import InboxRepairTests, ReceivingTests  # noqa: E402
from .hub.repairing import DamageTests, RollbackTests, WipeTests  # noqa: E402
from .hub.running import RunningTests  # noqa: E402
from .store.claims import ClaimTests  # noqa: E402
from .store.ends import EndTests  # noqa: E402
from .store.feed_repairs import FeedRepairTests  # noqa: E402
from .store.feeds import FeedTests  # noqa: E402
from .store.inboxes import InboxTests  # noqa: E402
from .store.reads import ReadTests  # noqa: E402
from .store.restores import RestoreTests  # noqa: E402
from .store.resumes import ResumeTests  # noqa: E402
from .store.schedules import ScheduleTests  # noqa: E402
from .store.watches import WatchTests  # noqa: E402
from .store.writes import WriteTests  # noqa: E402

__all__ = [
    "Backend",
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
