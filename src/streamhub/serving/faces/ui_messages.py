"""The face that ``useChat`` of the Vercel AI SDK knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...chunks import SessionInfo, Status
from ...formats.ui_messages import UIMessages
from ..answers import nothing
from .face import Face

__all__ = ["ui_message_face"]


def ui_message_face(
    *,
    resume: bool = False,
    replay_ended: bool = False,
    message_id: str | None = None,
    error_text: Callable[[str, str], str] | None = None,
    **more: Any,
) -> Face:
    """See :class:`UIMessageStreamResponse`.

    :param more: of :class:`UIMessages`.
    """
    return Face(
        format=lambda request: UIMessages(
            message_id=message_id, error_text=error_text, replay=resume, **more
        ),
        # Whatever a browser or a proxy adds: what a message is made of begins with its start.
        cursor=lambda request: None,
        batch=lambda request: False,
        follows=_goes_on if resume and not replay_ended else None,
        missing=nothing,
        headers={"x-vercel-ai-ui-message-stream": "v1"},
    )


def _goes_on(info: SessionInfo) -> bool:
    return info.status in (Status.ACTIVE, Status.LOST)
