"""What spans and measurements are marked with."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ...errors import failure_kind

__all__ = ["PRODUCING", "PUBLISHING", "READING", "GenAI", "kind_of"]

#: Of the messaging conventions, whose status is Development.
PRODUCING: Final = {
    "messaging.system": "streamhub",
    "messaging.operation.name": "produce",
    "messaging.operation.type": "send",
}
PUBLISHING: Final = {**PRODUCING, "messaging.operation.name": "publish"}
READING: Final = {
    "messaging.system": "streamhub",
    "messaging.operation.name": "read",
    "messaging.operation.type": "receive",
}

# How describe() begins the reason that is an exception: with its type. What an application says in
# words of its own must not be taken for one.
_TYPE = re.compile(
    r"([A-Z][A-Za-z0-9_]{0,80}(?:Error|Exception|Failed|Timeout|Lost|Closed|Unavailable))(?:: |$)",
    re.ASCII,
)
_LONGEST_MODEL = 100
_MOST_MODELS = 100


class _Metadata(msgspec.Struct):
    model: str | None = None


class GenAI:
    """The attributes of the conventions on generative AI, whose status is Development.

    The model is ``model`` of a session's metadata. Of at most 100 models a process is told by name:
    each is a row of its own wherever measurements go.
    """

    def __init__(self, provider: str, operation: str) -> None:
        self._common = {"gen_ai.provider.name": provider, "gen_ai.operation.name": operation}
        self._models: set[str] = set()

    def attributes(self, metadata: str | None) -> dict[str, str]:
        """:param metadata: as JSON."""
        model = _model_in(metadata)
        if model is None:
            return self._common
        if model not in self._models:
            if len(self._models) == _MOST_MODELS:
                return self._common
            self._models.add(model)
        return {**self._common, "gen_ai.request.model": model}


def kind_of(reason: str | None) -> str:
    """What kind of failure it is, of few values: a provider's, or the type of the exception."""
    if (kind := failure_kind(reason)) is not None:
        return kind
    found = _TYPE.match(reason or "")
    return found[1] if found else "_OTHER"


def _model_in(metadata: str | None) -> str | None:
    if metadata is None or '"model"' not in metadata:
        return None
    try:
        model = msgspec.json.decode(metadata, type=_Metadata).model
    except (msgspec.DecodeError, RecursionError):
        return None
    return model[:_LONGEST_MODEL] if model else None
