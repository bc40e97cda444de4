"""The parts of a message: one vocabulary for text, reasoning, tool calls, sources, files and data.

A part is stored as one chunk of event type ``ui``, in the shape of the AI SDK's UI message stream.
Plain chunks are text, and stay what they are::

    await stream.publish(parts.ReasoningDelta("r1", "Let me see"))
    await stream.publish("It is ")

``fold`` makes the message of the chunks of a stream, as a page shows it.
"""

from .coding import PART_EVENT, AnyPart, decode, encode, finished, is_part
from .folding import Folding, fold, message_of
from .kinds import *  # noqa: F403
from .kinds import __all__ as _kinds
from .message import Message
from .ui_stream import MESSAGE_EVENT, UIStream, message_id_of

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
