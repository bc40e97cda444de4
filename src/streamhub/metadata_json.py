"""Metadata to JSON and back into the types that users ask for."""

from __future__ import annotations

import dataclasses
import re
from itertools import accumulate
from typing import Any

import msgspec

__all__ = ["DEEPEST", "decode", "encode", "load"]

#: How deeply lists and objects may be nested. Every reader of JSON can follow so far, with the
#: levels around it in a listing; many end at 128, and Python's own where its stack does.
DEEPEST = 100

# How many levels are counted of what no reader could follow.
_COUNTED = 100_000

_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_DEEPER_OR_NOT = bytes.maketrans(b"[{]}", b"\2\2\0\0")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[{]}")


def encode(value: object, limit: int) -> str:
    """``value`` as JSON text of at most ``limit`` bytes, which ``decode`` can read.

    :raises ValueError: it is not JSON, too large, or nested more deeply than ``DEEPEST``.
    """
    import json  # takes longer than most that a program which has no metadata imports of us

    try:
        text = json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
        )
        data = text.encode()
    except RecursionError as error:
        raise ValueError(_too_deep(_levels(value))) from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"metadata must be JSON: {error}") from error
    if len(data) > limit:
        raise ValueError(f"metadata of {len(data):,} bytes is over max_chunk_bytes ({limit:,})")
    decode(data)
    return text


def decode(data: bytes | str) -> Any:
    """The value of JSON text, whoever wrote it; always one that can be written as JSON again.

    :raises ValueError: it is not JSON, or nested more deeply than ``DEEPEST``.
    """
    data = data.encode() if isinstance(data, str) else data
    depth = _depth(data)
    if depth > DEEPEST:
        raise ValueError(_too_deep(depth))
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"metadata must be JSON: {error}") from error


def load(value: object, kind: Any) -> Any:
    """``value``, decoded JSON, as ``kind``.

    :raises ValueError: it does not fit.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=_model)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        name = getattr(kind, "__name__", repr(kind))
        raise ValueError(f"metadata is no {name}: {error}") from error


def _too_deep(depth: int) -> str:
    counted = f"{depth:,} levels deep" if DEEPEST < depth <= _COUNTED else "endlessly"
    return f"metadata is nested {counted}, allowed are {DEEPEST:,} levels of lists and objects"


def _depth(data: bytes) -> int:
    """How deeply the brackets of JSON text are nested, those within its strings left out."""
    if data.count(b"[") + data.count(b"{") <= DEEPEST:
        return 0
    brackets = _TEXT.sub(b"", data).translate(_DEEPER_OR_NOT, _NO_BRACKETS)
    return max(accumulate(step - 1 for step in brackets), default=0)


def _levels(value: object) -> int:
    """How deeply lists and dicts are nested, counted level by level instead of by recursion."""
    depth = 0
    level = [value]
    while level and depth <= _COUNTED:
        # What is shared by several is counted once: a level may not grow beyond all memory.
        inner = {
            id(child): child
            for one in level
            if isinstance(one, dict | list | tuple)
            for child in (one.values() if isinstance(one, dict) else one)
        }
        if any(isinstance(one, dict | list | tuple) for one in level):
            depth += 1
        level = list(inner.values())
    return depth


def _plain(value: object) -> object:
    """JSON's view of a model: pydantic's, a dataclass's or a msgspec struct's own."""
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def _model(kind: type, value: object) -> object:
    validate = getattr(kind, "model_validate", None)
    if validate is None:
        raise TypeError(f"{kind.__name__} cannot be loaded from JSON")
    return validate(value)
