"""What a hub tells of itself while it works, and who listens.

``Hub(…, instruments=[…])`` takes any function of an event. Those that the package brings are in
``instruments.logging``, ``instruments.prometheus`` and ``instruments.opentelemetry``.
"""

from .dispatch import Instrument, Tracer
from .events import Event

__all__ = ["Event", "Instrument", "Tracer"]
