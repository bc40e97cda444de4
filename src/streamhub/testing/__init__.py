"""For those who write a store, or tests on top of one: the conformance suite and what it uses.

Needs pytest. The tests are async and run by the pytest plugin of anyio, which comes with it.
"""

try:
    import pytest
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'streamhub.testing needs pytest: pip install "streamhub-llm[testing]"', name=missing.name
    ) from None

# Before they are imported: a failed assertion is to show its values wherever the suite is run.
pytest.register_assert_rewrite(f"{__name__}.hub", f"{__name__}.store")

from .backend import Backend  # noqa: E402
from .clock import FakeClock  # noqa: E402
from .conformance import (  # noqa: E402
    DamageConformance,
    FeedConformance,
    FeedRepairConformance,
    InboxConformance,
    InboxRepairConformance,
    RollbackConformance,
    StoreConformance,
    WipeConformance,
)
from .faults import Fails, LosesAnswers, LosesEvents, Stalls  # noqa: E402

__all__ = [
    "Backend",
    "DamageConformance",
    "Fails",
    "FakeClock",
    "FeedConformance",
    "FeedRepairConformance",
    "InboxConformance",
    "InboxRepairConformance",
    "LosesAnswers",
    "LosesEvents",
    "RollbackConformance",
    "Stalls",
    "StoreConformance",
    "WipeConformance",
]
