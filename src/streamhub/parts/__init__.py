"""The parts of a message: one vocabulary for text, reasoning, tool calls, sources, files and data.

A part is stored as one chunk of event type ``ui``, in the shape of the AI SDK's UI message stream.
Plain chunks are text, and stay what they are::

    await stream.publish(parts.ReasoningDelta("r1", "Let me see"))
    await stream.publish("It is ")
"""

from .coding import PART_EVENT, AnyPart, decode, encode, finished, is_part
from .kinds import *  # noqa: F403
from .kinds import __all__ as _kinds

__all__ = [  # noqa: PLE0604
    "PART_EVENT",
    "AnyPart",
    "decode",
    "encode",
    "finished",
    "is_part",
    *_kinds,
]
