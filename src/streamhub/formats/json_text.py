"""JSON that stays on one line, whichever line breaks the reader knows."""

from __future__ import annotations

import msgspec

__all__ = ["encode", "unbroken"]

# JSON escapes the control characters below U+0020 by itself. These three it may leave as they are,
# and str.splitlines, httpx's iter_lines and old JavaScript take them for the end of a line.
_BREAKS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


def encode(value: object) -> bytes:
    """``value`` as JSON on one line, in UTF-8."""
    return unbroken(msgspec.json.encode(value))


def unbroken(json: bytes) -> bytes:
    """The same value as ``json``, which is on one line, without any character that a reader could
    take for a line break."""
    # Outside its strings JSON holds none of them, so that what is escaped stands in a string.
    for raw, escaped in _BREAKS:
        if raw in json:
            json = json.replace(raw, escaped)
    return json
