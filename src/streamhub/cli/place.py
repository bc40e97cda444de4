"""Where the sessions are that a command is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from ..config import HubConfig
from ..hub import Hub

__all__ = ["Place"]


class Place(NamedTuple):
    """A store, and what the keys of the sessions in it begin with."""

    url: str
    key_prefix: str

    def config(self, config: HubConfig | None = None) -> HubConfig:
        """``config``, or what hubs have without one, for these sessions."""
        return replace(config or HubConfig(), key_prefix=self.key_prefix)

    def hub(self, config: HubConfig | None = None, **options: Any) -> Hub:
        """A hub of these sessions; ``options`` are those of ``Hub.from_url``."""
        return Hub.from_url(self.url, config=self.config(config), **options)
