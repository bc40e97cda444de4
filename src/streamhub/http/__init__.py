"""Sessions over HTTP, for Starlette and FastAPI: ``pip install "streamhub-llm[http]"``."""

try:
    from ..formats.ui_messages import PART_EVENT
    from .app import create_app
    from .authorization import Action, Authorize, UserOf, owned_by
    from .chat import Answer, chat_routes
    from .faces import Face
    from .lifespan import lifespan
    from .responses import SSEResponse, StreamResponse, UIMessageStreamResponse
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] != "starlette":
        raise
    raise ModuleNotFoundError(
        'streamhub.http needs starlette: pip install "streamhub-llm[http]"', name="starlette"
    ) from None

__all__ = [
    "PART_EVENT",
    "Action",
    "Answer",
    "Authorize",
    "Face",
    "SSEResponse",
    "StreamResponse",
    "UIMessageStreamResponse",
    "UserOf",
    "chat_routes",
    "create_app",
    "lifespan",
    "owned_by",
]
