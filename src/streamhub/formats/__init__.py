"""How a log looks in each dialect. Pure: no I/O, no framework."""

from .format import Ending, Format
from .info_json import info_json
from .ndjson import NDJSON
from .sse import SSE
from .text import TEXT
from .ui_messages import UIMessages

__all__ = [
    "NDJSON",
    "SSE",
    "TEXT",
    "Ending",
    "Format",
    "UIMessages",
    "info_json",
]
