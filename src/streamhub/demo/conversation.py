"""What a model is asked: the chat so far, and the answer that is to be begun or continued."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

__all__ = ["GO_ON", "Message", "Turn", "conversation"]

#: One turn of a chat that is over: what was asked, and what is there of the answer.
Turn = tuple[str, str]

_SYSTEM = "Answer in a few hundred words of Markdown: headings, lists, emphasis, code. No tables."
#: What a model is told after an answer of its own that broke off.
GO_ON = (
    "Your answer broke off there. Go on with the very next character; "
    "do not repeat anything and do not comment on this."
)


class Message(TypedDict):
    role: str
    content: str


def conversation(earlier: Sequence[Turn], question: str, so_far: str = "") -> list[Message]:
    """The messages that ask for the answer to ``question``, or for the rest of it."""
    messages: list[Message] = [{"role": "system", "content": _SYSTEM}]
    for asked, answered in earlier:
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": answered})
    messages.append({"role": "user", "content": question})
    if so_far:
        messages.append({"role": "assistant", "content": so_far})
        messages.append({"role": "user", "content": GO_ON})
    return messages
