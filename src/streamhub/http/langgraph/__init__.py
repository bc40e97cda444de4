"""Runs of a LangGraph graph, for the clients of LangGraph's own server."""

from .routes import langgraph_routes

__all__ = ["langgraph_routes"]
