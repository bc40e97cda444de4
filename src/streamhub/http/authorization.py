"""Who may do what with which session."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Literal

from starlette.requests import Request

from ..chunks import Cursor, SessionInfo
from ..hub import Hub
from ..serving.queries import held_cursor
from .late_hub import HubOf, hub_of

__all__ = [
    "Access",
    "Action",
    "Authorize",
    "OwnedBy",
    "UserOf",
    "is_allowed",
    "outlast",
    "owned_by",
    "patience_for",
    "user_of",
]

#: ``read``: follow a session, or look at it; ``produce``: begin an answer in it; ``send``: send its
#: producer a message.
Action = Literal["read", "cancel", "remove", "produce", "send"]

#: Whether a request may do something with a session. A refused one is answered like one for a
#: session that does not exist, so that ids cannot be probed.
Authorize = Callable[[Request, str, Action], bool | Awaitable[bool]]

#: Who sends a request: a name as in ``register(owner=…)``; None for nobody who is known.
UserOf = Callable[[Request], str | Awaitable[str | None] | None]


class OwnedBy:
    """See :func:`owned_by`."""

    def __init__(self, hub: HubOf, user: UserOf) -> None:
        self._hub_of = hub_of(hub)
        self.user = user

    async def __call__(self, request: Request, session_id: str, action: Action) -> bool:
        user = await user_of(self.user, request)
        if user is None:
            return False
        stream = await self._hub_of(request).get(session_id, after=held_cursor(request))
        if stream is None:
            # Nobody's yet, so that it may be begun or waited for; there is nothing else to do.
            return action in ("produce", "read")
        return (await stream.info()).owner == user

    async def allows(self, request: Request, info: SessionInfo) -> bool:
        """Whether the request's user may read a session that was looked up already."""
        user = await user_of(self.user, request)
        return user is not None and info.owner == user


def owned_by(hub: HubOf, user: UserOf) -> OwnedBy:
    """The check that lets everybody at their own sessions only.

    Compares what ``register(owner=…)`` was given with what ``user`` says of the request; a session
    without an owner is nobody's.

    :param hub: or a function that finds it for a request.
    :param user: the application's own function, plain or async.

    ::

        create_app(hub, authorize=owned_by(hub, lambda request: request.session.get("user")))
    """
    return OwnedBy(hub, user)


def patience_for(hub: Hub, cursor: Cursor | None, wait: float | None = None) -> float:
    """For how many seconds a session is looked for: a client that holds a cursor of it is let wait
    for a lease."""
    return max(wait or 0.0, 0.0 if cursor is None else hub.config.lease)


async def outlast(began: float, patience: float) -> None:
    """Refuse as late as a session would be missed that is not there: how long an answer takes must
    not tell that it is.

    :param began: the event loop's time at which it was looked for.
    """
    await asyncio.sleep(began + patience - asyncio.get_running_loop().time())


async def is_allowed(
    authorize: Authorize | None, request: Request, session_id: str, action: Action
) -> bool:
    if authorize is None:
        return True
    answer = authorize(request, session_id, action)
    return bool(await answer if inspect.isawaitable(answer) else answer)


async def user_of(user: UserOf, request: Request) -> str | None:
    answer = user(request)
    return await answer if inspect.isawaitable(answer) else answer


class Access:
    """Who may do what with the sessions of some routes: everybody, or whom ``authorize`` lets, or,
    with ``user`` alone, each one with what that one has begun."""

    def __init__(self, hub: HubOf, user: UserOf | None, authorize: Authorize | None) -> None:
        self._user = user
        #: Others are kept out by the claim itself, too: it leaves no moment between the two.
        self.own_alone: bool = authorize is None and user is not None
        if authorize is None and user is not None:
            authorize = owned_by(hub, user)
        self._authorize = authorize

    async def allows(self, request: Request, session_id: str, action: Action) -> bool:
        return await is_allowed(self._authorize, request, session_id, action)

    async def owner(self, request: Request) -> str | None:
        """Whose a session becomes that the request begins."""
        return None if self._user is None else await user_of(self._user, request)

    def keeps_out(self, owner: str | None, info: SessionInfo) -> bool:
        """Whether the session is one that ``owner`` may not even know of."""
        return self.own_alone and info.owner != owner
