"""What ``useChat({ resume: true })`` of the Vercel AI SDK talks to."""

from .answering import Answer
from .router import chat_router
from .routes import chat_routes

__all__ = ["Answer", "chat_router", "chat_routes"]
