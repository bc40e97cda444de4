"""Sessions over HTTP, for Starlette and FastAPI: ``pip install "streamhub-llm[http]"``."""

from .ai_sdk import PART_EVENT, UIMessageStreamResponse
from .app import create_app
from .authorization import Action, Authorize, UserOf, owned_by
from .chat import Answer, chat_routes
from .responses import SSEResponse, StreamResponse

__all__ = [
    "PART_EVENT",
    "Action",
    "Answer",
    "Authorize",
    "SSEResponse",
    "StreamResponse",
    "UIMessageStreamResponse",
    "UserOf",
    "chat_routes",
    "create_app",
    "owned_by",
]
