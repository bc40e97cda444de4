"""What the rooms of a gateway share."""

from __future__ import annotations

from dataclasses import dataclass

from ..hub import Hub
from .keys import Keys
from .limits import Limits
from .upstream import Upstream

__all__ = ["Gateway"]


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """One gateway; see :func:`create_gateway`."""

    hub: Hub
    upstream: Upstream
    keys: Keys
    limits: Limits
    detach: bool
    retry_lost: bool
