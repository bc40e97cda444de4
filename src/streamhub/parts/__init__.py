"""The parts of a message: one vocabulary for text, reasoning, tool calls, sources, files and data.

A part is stored as one chunk of event type ``ui``, in the shape of the AI SDK's UI message stream.
Plain chunks are text, and stay what they are::

    await stream.publish(parts.ReasoningDelta("r1", "Let me see"))
    await stream.publish("It is ")

``fold`` makes the message of the chunks of a stream, as a page shows it.
"""

import typing as _typing

from .coding import PART_EVENT, AnyPart, decode, encode, finished, is_part
from .kinds import *  # noqa: F403
from .kinds import __all__ as _kinds
from .ui_message import Message

__all__ = [  # noqa: PLE0604
    "MESSAGE_EVENT",
    "PART_EVENT",
    "AnyPart",
    "Folding",
    "Message",
    "UIStream",
    "decode",
    "encode",
    "finished",
    "fold",
    "is_part",
    "message_id_of",
    "message_of",
    *_kinds,
]

if _typing.TYPE_CHECKING:
    from .folding import Folding, fold, message_of
    from .ui_stream import MESSAGE_EVENT, UIStream, message_id_of
else:

    def __getattr__(name: str) -> object:
        # What reads parts is loaded when it is asked for: a program that streams text never does.
        if name in {"Folding", "fold", "message_of"}:
            from . import folding as holder
        elif name in {"MESSAGE_EVENT", "UIStream", "message_id_of"}:
            from . import ui_stream as holder
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(holder, name)
