"""A page for whoever is on call: all sessions, what has happened to them, and what can be done."""

from .routes import PUBLIC, Findings, Operator, inspector_routes

__all__ = ["PUBLIC", "Findings", "Operator", "inspector_routes"]
