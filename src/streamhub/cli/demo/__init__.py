"""``streamhub demo``: two hubs, a producer, three readers and a stop button, in memory."""

from __future__ import annotations

from .play import demo

__all__ = ["demo"]
