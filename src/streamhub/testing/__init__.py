"""For tests of applications, and of stores: a model, a clock, a crash, a network that fails.

Nothing here needs pytest. Its fixtures are in ``streamhub.testing.fixtures``; the suite that a
store must pass, in ``streamhub.testing.conformance``.
"""

from .clock import FakeClock
from .crashing import crash
from .faults import Fails, LosesAnswers, LosesEvents, Stalls
from .private_redis import CannotRun, PrivateRedis
from .scripted_source import PAUSE, ScriptedSource

__all__ = [
    "PAUSE",
    "CannotRun",
    "Fails",
    "FakeClock",
    "LosesAnswers",
    "LosesEvents",
    "PrivateRedis",
    "ScriptedSource",
    "Stalls",
    "crash",
]
