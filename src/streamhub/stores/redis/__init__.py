"""Sessions in Redis or Valkey. Needs the extra: ``pip install "streamhub-llm[redis]"``."""

from .store import RedisStore

__all__ = ["RedisStore"]
