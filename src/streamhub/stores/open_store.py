"""Which store a URL names."""

from __future__ import annotations

from ..errors import InvalidStoreUrl
from .base import Store

__all__ = ["open_store"]


def open_store(url: str) -> Store:
    scheme, separator, rest = url.partition("://") if isinstance(url, str) else ("", "", "")
    if scheme == "memory" and separator:
        if rest:
            raise InvalidStoreUrl("memory://…", "a store in memory has no address: memory://")
        from .memory import MemoryStore

        return MemoryStore()
    try:
        from .redis import RedisStore
    except ImportError as error:
        raise InvalidStoreUrl(
            f"{scheme}://…", 'Redis needs an extra: pip install "streamhub-llm[redis]"'
        ) from error
    return RedisStore.from_url(url)
