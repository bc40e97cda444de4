"""Sessions in Redis or Valkey. Needs the extra: ``pip install "streamhub-llm[redis]"``."""

try:
    from .store import RedisStore
except ModuleNotFoundError as _missing:
    _library = (_missing.name or "").partition(".")[0]
    if _library not in ("redis", "hiredis"):
        raise
    raise ModuleNotFoundError(
        f'streamhub.stores.redis needs {_library}: pip install "streamhub-llm[redis]"',
        name=_library,
    ) from None

__all__ = ["RedisStore"]
