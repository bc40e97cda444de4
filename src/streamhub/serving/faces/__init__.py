"""The dialects in which sessions are served, each a value for the one response class."""

from .choosing import face_of
from .dialects import FACES, NDJSON, SSE, TEXT
from .face import Face
from .ui_messages import ui_message_face

__all__ = ["FACES", "NDJSON", "SSE", "TEXT", "Face", "face_of", "ui_message_face"]
