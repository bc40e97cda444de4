"""Runs of an agent as AG-UI has them: what ``HttpAgent`` and TanStack AI talk to."""

from .routes import agui_routes

__all__ = ["agui_routes"]
