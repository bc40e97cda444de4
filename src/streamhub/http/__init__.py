"""Sessions over HTTP, for Starlette and FastAPI: ``pip install "streamhub-llm[http]"``."""

try:
    from ..parts import MESSAGE_EVENT, PART_EVENT, message_id_of
    from ..serving import Face, lifespan
    from .agui import agui_routes
    from .app import create_app
    from .authorization import Action, Authorize, UserOf, owned_by
    from .chat import Answer, chat_router, chat_routes
    from .durable_streams import durable_stream_url, durable_streams_routes
    from .error_handlers import error_handlers
    from .inspector import inspector_routes
    from .langgraph import langgraph_routes
    from .responses import StreamResponse
    from .single_face import SSEResponse, UIMessageStreamResponse
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "starlette":
        raise
    raise ModuleNotFoundError(
        'streamhub.http needs starlette: pip install "streamhub-llm[http]"', name="starlette"
    ) from None

__all__ = [
    "MESSAGE_EVENT",
    "PART_EVENT",
    "Action",
    "Answer",
    "Authorize",
    "Face",
    "SSEResponse",
    "StreamResponse",
    "UIMessageStreamResponse",
    "UserOf",
    "agui_routes",
    "chat_router",
    "chat_routes",
    "create_app",
    "durable_stream_url",
    "durable_streams_routes",
    "error_handlers",
    "inspector_routes",
    "langgraph_routes",
    "lifespan",
    "message_id_of",
    "owned_by",
]
