"""Metadata to JSON and back into the types that users ask for."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec

from .errors import InvalidMetadata

__all__ = ["encode", "load"]


def encode(session_id: str, value: object, limit: int) -> str:
    """``value`` as JSON text of at most ``limit`` bytes.

    :raises InvalidMetadata: it is not JSON, or too large.
    """
    try:
        text = json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
        )
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMetadata(session_id, f"metadata must be JSON: {error}") from error
    if size > limit:
        raise InvalidMetadata(
            session_id, f"metadata of {size:,} bytes is over max_chunk_bytes ({limit:,})"
        )
    return text


def load(session_id: str, value: object, kind: Any) -> Any:
    """``value``, decoded JSON, as ``kind``.

    :raises InvalidMetadata: it does not fit.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=_model)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        name = getattr(kind, "__name__", repr(kind))
        raise InvalidMetadata(session_id, f"metadata is no {name}: {error}") from error


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
