"""A resumable gateway in front of an API that speaks as OpenAI does:
``pip install "streamhub-llm[gateway]"``."""

try:
    from .app import create_gateway
    from .limits import Limits
except ModuleNotFoundError as _missing:
    _library = (_missing.name or "").partition(".")[0]
    if _library not in ("starlette", "aiohttp"):
        raise
    raise ModuleNotFoundError(
        f'streamhub.gateway needs {_library}: pip install "streamhub-llm[gateway]"', name=_library
    ) from None

__all__ = ["Limits", "create_gateway"]
