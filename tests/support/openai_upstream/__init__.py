"""A model's server that speaks OpenAI's two dialects, counts its tokens, and fails on request."""

from __future__ import annotations

from .asked import Asked
from .faults import (
    BreakInside,
    HangUp,
    Html,
    Redirect,
    Refused,
    SlowHeaders,
    Split,
    Whole,
    WrongLength,
)
from .server import OpenAIUpstream, openai_upstream
from .steps import STALL, Call, Fails, Finish, Gate, Raw, Refusal, Thought

__all__ = [
    "STALL",
    "Asked",
    "BreakInside",
    "Call",
    "Fails",
    "Finish",
    "Gate",
    "HangUp",
    "Html",
    "OpenAIUpstream",
    "Raw",
    "Redirect",
    "Refusal",
    "Refused",
    "SlowHeaders",
    "Split",
    "Thought",
    "Whole",
    "WrongLength",
    "openai_upstream",
]
