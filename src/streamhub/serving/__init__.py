"""One session as the answer to one request, whatever the framework: which face, from which cursor,
with which status, and the bytes."""

from .answers import Answer, Answered
from .asked import Asked
from .faces import Face, ui_message_face
from .lifespan import lifespan
from .reply import BrokenOff, Reply

__all__ = [
    "Answer",
    "Answered",
    "Asked",
    "BrokenOff",
    "Face",
    "Reply",
    "lifespan",
    "ui_message_face",
]
