"""A user's word on a tool call, for an answer that waits for it: it comes to the producer's inbox,
and the answer goes on where it has paused."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from ...chunks import SessionInfo, Status
from ...errors import StreamClosed, StreamReplaced
from ...formats.ui_messages import UIMessages
from ...formats.ui_tail import paused_at
from ...parts import PART_EVENT, ToolApprovalResponse, encode
from ...stores.feeds import is_supervisor
from ...stream import LiveStream
from .reconnecting import parts_so_far

__all__ = ["approvals_in", "approved"]


def approvals_in(message: dict[str, Any] | None) -> dict[str, ToolApprovalResponse]:
    """What the user has said about calls of the assistant's ``message``, by the approvals' ids."""
    parts = None if message is None else message.get("parts")
    found: dict[str, ToolApprovalResponse] = {}
    for part in parts if isinstance(parts, list) else []:
        if not isinstance(part, dict) or part.get("state") != "approval-responded":
            continue
        approval = part.get("approval")
        if not isinstance(approval, dict) or not isinstance(name := approval.get("id"), str):
            continue
        reason = approval.get("reason")
        found[name] = ToolApprovalResponse(
            name, approval.get("approved") is True, reason if isinstance(reason, str) else None
        )
    return found


async def approved(
    stream: LiveStream, info: SessionInfo, approvals: dict[str, ToolApprovalResponse]
) -> int | None:
    """Send them to the producer, if its answer has asked for them and goes on; after how many of
    its parts that is. Sending them again sends nothing, also where the answer has gone on to its
    end since.

    :raises StreamHubError: they cannot be sent, or the answer not be read.
    """
    goes_on = info.status is Status.ACTIVE or (
        # Of one that nobody resumes the user would hear for ever that it is lost.
        info.status is Status.LOST and any(map(is_supervisor, info.feeds))
    )
    if not approvals or not (goes_on or info.status is Status.FINISHED):
        return None
    parts = await parts_so_far(stream, UIMessages())
    since = paused_at(parts, approvals)
    if since is None:
        return None
    if not goes_on:
        return since if _are_heard(parts[since:], approvals) else None
    with suppress(StreamClosed, StreamReplaced):
        for name, approval in approvals.items():
            await stream.send(encode(approval), PART_EVENT, key=f"approval:{name}")
        return since
    # It has ended meanwhile: what the user has said is for the next answer.
    return None


def _are_heard(parts: list[dict[str, Any]], approvals: Collection[str]) -> bool:
    """Whether the producer has said in ``parts`` what the user had decided last."""
    heard = (part["approvalId"] for part in parts if part["type"] == "tool-approval-response")
    return any(one in approvals for one in heard)
