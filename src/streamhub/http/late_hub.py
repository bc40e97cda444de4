"""A hub that is not there yet when routes are made: tests swap it, and a lifespan opens it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from starlette.requests import Request

from ..hub import Hub

__all__ = ["HubOf", "hub_of"]

#: A hub, or what finds it for a request: ``lambda request: request.app.state.hub``.
HubOf: TypeAlias = Hub | Callable[[Request], Hub] | Callable[[], Hub]


def hub_of(hub: HubOf) -> Callable[[Request], Hub]:
    """What finds the hub of a request.

    :raises TypeError: ``hub`` is neither a hub nor a function.
    """
    if isinstance(hub, Hub):
        return lambda request: hub
    if not callable(hub):
        kind = type(hub).__name__
        raise TypeError(f"hub must be a Hub, or a function of the request, not {kind}")
    find: Callable[..., Any] = hub if _takes_something(hub) else lambda request: hub()  # type: ignore[call-arg]

    def found(request: Request) -> Hub:
        answer = find(request)
        if not isinstance(answer, Hub):
            kind = type(answer).__name__
            raise TypeError(f"hub must find a Hub for the request, not {kind}: {hub!r}")
        return answer

    return found


def _takes_something(function: Callable[..., Any]) -> bool:
    try:
        return bool(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return True
