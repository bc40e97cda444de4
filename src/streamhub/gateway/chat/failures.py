"""Why an answer has no good end: as its session stores it, and as clients are told."""

from __future__ import annotations

import re

from ...formats.format import Ending
from ..errors import NO_RETRY, GatewayError

__all__ = ["REFUSED", "TOLD", "failure_of", "is_refused", "lost", "reason_of"]

#: The upstream has refused the request: its own answer, which is stored, says why.
REFUSED = "upstream_refused"
#: The upstream has said itself, in an event, that its answer failed.
TOLD = "upstream_failed"

_REASON = re.compile(r"(\d{3}) ([a-z_]+): (.*)", re.DOTALL)


def reason_of(error: GatewayError) -> str:
    """As the end of a session has it."""
    return f"{error.status} {error.code}: {error.message}"


def is_refused(ending: Ending) -> bool:
    """Whether the upstream has refused the request, so that what is stored is all of its answer."""
    return failure_of(ending).code == REFUSED


def failure_of(ending: Ending) -> GatewayError:
    """What clients are told of an end that is no good one."""
    match ending.status:
        case "cancelled":
            message = "this answer was cancelled before it was complete"
            return GatewayError(409, "cancelled", message, headers=NO_RETRY)
        case "lost":
            return lost()
        case "replaced":
            message = (
                "this answer broke off and was begun anew: read it from its start, without "
                "Last-Event-ID"
            )
            return GatewayError(409, "answer_restarted", message, headers=NO_RETRY)
        case "expired":
            message = "the beginning of this answer is not stored any more"
            return GatewayError(410, "answer_expired", message)
        case "gone":
            message = "this answer is not stored any more"
            return GatewayError(404, "completion_not_found", message)
        case "unavailable":
            message = "the gateway cannot reach its store; try again"
            return GatewayError(503, "store_unavailable", message, headers={"retry-after": "1"})
    if told := _REASON.fullmatch(ending.error or ""):
        return GatewayError(int(told[1]), told[2], told[3])
    # What else is stored is the text of an exception, and none of a client's business.
    message = "the answer could not be finished: something went wrong in the gateway"
    return GatewayError(502, "answer_failed", message)


def lost() -> GatewayError:
    """The gateway that asked was killed, or could not hand over what it had under way."""
    message = "the gateway that was asking for this answer is gone, and the answer broke off"
    return GatewayError(502, "answer_lost", message, headers=NO_RETRY)
