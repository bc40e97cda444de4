"""What the rooms of a gateway share."""

from __future__ import annotations

from dataclasses import dataclass

from ..hub import Hub
from .keys import Keys
from .limits import Limits
from .places import Places
from .upstream import Upstream

__all__ = ["Gateway"]


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """One gateway; see :func:`create_gateway`."""

    hub: Hub
    upstream: Upstream
    keys: Keys
    limits: Limits
    #: Of the answers that are under way on this instance.
    places: Places
    detach: bool
    retry_lost: bool
