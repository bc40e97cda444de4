"""The value of JSON that is still being written, as the AI SDK shows a tool's input meanwhile."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

__all__ = ["partial_json"]

_SPACE = re.compile(r"[ \t\n\r]*")
# Possessive: else what a string of megabytes may give back takes a gigabyte to remember.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_LITERALS = ("true", "false", "null")
# At the end of what is there: what follows the backslash of an escape of which more is to come.
_HALF_AN_ESCAPE = re.compile(r"(?:u[0-9a-fA-F]{0,3})?\Z")
_LONGEST_HALF = 4


def partial_json(text: str) -> Any:
    """The value of ``text``, the beginning of some JSON, as far as it is sure.

    A string is as long as it is there; a number ends with its last digit; a key without a value is
    left out. ``msgspec.UNSET`` while there is nothing, and for what can be no JSON.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return _storable(json.loads(_completed(text), parse_constant=_refuse))
    except (ValueError, RecursionError):
        return msgspec.UNSET


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _storable(value: Any) -> Any:
    """``value`` without half a character, where a string breaks off inside one."""
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        whole = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
        return json.loads(whole.decode("utf-16", "replace"))
    return value


def _completed(text: str) -> str:
    """``text`` up to where it is sure, with all closed that is open there."""
    closers: list[str] = []
    # ``text`` up to there, with ``scalar`` and what closes all that is open, is JSON.
    sure, scalar = 0, ""
    at = 0
    # What may come next: a value, the key of one, its colon, or what follows a value.
    awaited = "value"
    while (at := _SPACE.match(text, at).end()) < len(text):  # type: ignore[union-attr]
        char, begin = text[at], at
        if awaited == "value" and char in "{[":
            closers.append("}" if char == "{" else "]")
            awaited, at = ("key" if char == "{" else "value"), at + 1
        elif char in "}]" and closers and char == closers[-1] and awaited != "colon":
            closers.pop()
            awaited, at = "after", at + 1
        elif awaited == "after" and char == "," and closers:
            awaited, at = ("key" if closers[-1] == "}" else "value"), at + 1
            continue
        elif awaited == "colon" and char == ":":
            awaited, at = "value", at + 1
            continue
        elif awaited == "key" and (key := _STRING.match(text, at)):
            awaited, at = "colon", key.end()
            continue
        elif awaited == "value":
            found, at = _scalar(text, at)
            if not found:
                break
            awaited = "after"
            sure, scalar = begin, found
            continue
        else:
            break
        sure, scalar = at, ""
    return text[:sure] + scalar + "".join(reversed(closers))


def _scalar(text: str, at: int) -> tuple[str, int]:
    """What is sure of a string, a number or a literal, and where it ends."""
    if text[at] == '"':
        if whole := _STRING.match(text, at):
            return whole[0], whole.end()
        return text[at : _end_of_whole(text, at)] + '"', len(text)
    if number := _NUMBER.match(text, at):
        return number[0], number.end()
    rest = text[at : at + 5]
    for literal in _LITERALS:
        if rest.startswith(literal):
            return literal, at + len(literal)
        if literal.startswith(rest) and at + len(rest) == len(text):
            return literal, len(text)
    return "", at


def _end_of_whole(text: str, at: int) -> int:
    """Where what is whole ends of the string that begins at ``at``, and does not end."""
    half = _HALF_AN_ESCAPE.search(text, max(at + 1, len(text) - _LONGEST_HALF))
    assert half is not None
    end = begin = half.start()
    while text[begin - 1] == "\\":
        begin -= 1
    return end - 1 if (end - begin) % 2 else len(text)
