"""Whose a thread is, and who may do what with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from ...chunks import SessionInfo
from ...stream import LiveStream
from ..authorization import Action, Authorize, UserOf, is_allowed, user_of
from ..problems import BadRequest, not_found
from .running import OWNER

__all__ = ["Owning"]


class Owning:
    """See :func:`langgraph_routes` for the parameters."""

    def __init__(self, user: UserOf | None, authorize: Authorize | None) -> None:
        self._user = user
        self._authorize = authorize
        #: Whether a thread is its owner's alone, and nobody else says otherwise.
        self.alone: bool = user is not None and authorize is None

    async def owner(self, request: Request, session_id: str, action: Action) -> str | None:
        """Who asks, if that may be.

        :raises BadRequest: it may not.
        """
        if not await is_allowed(self._authorize, request, session_id, action):
            raise BadRequest(not_found())
        owner = None if self._user is None else await user_of(self._user, request)
        if self.alone and owner is None:
            raise BadRequest(not_found())
        return owner

    def check_stream(self, info: SessionInfo, owner: str | None) -> None:
        """:raises BadRequest: it is somebody else's."""
        if self.alone and info.owner != owner:
            raise BadRequest(not_found())

    def check_stored(self, metadata: Mapping[str, Any] | None, owner: str | None) -> None:
        """The same of what a checkpointer has: it keeps that for longer than a hub its sessions."""
        if self.alone and metadata is not None and metadata.get(OWNER) != owner:
            raise BadRequest(not_found())


async def info_of(stream: LiveStream | None) -> SessionInfo | None:
    return None if stream is None else await stream.info()
