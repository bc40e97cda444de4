"""Sessions in Redis or Valkey. Needs the extra: ``pip install "streamhub-llm[redis]"``."""

try:
    from .store import RedisStore
except ModuleNotFoundError as missing:
    library = (missing.name or "").partition(".")[0]
    if library not in ("redis", "hiredis"):
        raise
    raise ModuleNotFoundError(
        f'streamhub.stores.redis needs {library}: pip install "streamhub-llm[redis]"', name=library
    ) from None

__all__ = ["RedisStore"]
