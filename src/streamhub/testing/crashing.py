"""What a SIGKILL does to producers, without one."""

from __future__ import annotations

from ..hub import Hub

__all__ = ["crash"]


def crash(hub: Hub) -> None:
    """Kill the producers of a hub: what they had not stored is lost, and nobody releases their
    leases, so that readers see them as ``lost`` once those have lapsed, ``HubConfig(lease=…)``
    seconds later. Sources of ``run`` are interrupted; who publishes by hand gets ``HubClosed``.

    The hub itself goes on, for readers and for new sessions.

    :raises HubClosed: the hub is closed.
    """
    if hub._engine is not None:
        hub._engine.crash()
