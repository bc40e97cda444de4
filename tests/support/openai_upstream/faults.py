"""What may go wrong with the answer to one request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .steps import Gate

__all__ = [
    "BreakInside",
    "Broken",
    "Fault",
    "HangUp",
    "Html",
    "Redirect",
    "Refused",
    "SlowHeaders",
    "Split",
    "Whole",
    "WrongLength",
    "broken_off",
    "split",
]


@dataclass(frozen=True)
class Refused:
    """This status, with an error of OpenAI's shape: 429 with a ``retry_after``, 500 …"""

    status: int
    message: str = "No."
    code: str | None = None
    type: str = "server_error"
    retry_after: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Html:
    """A page of a proxy, where JSON or events are asked for."""

    status: int = 200
    page: str = "<!doctype html><title>Bad gateway</title><h1>Bad gateway</h1>"


@dataclass(frozen=True)
class Redirect:
    location: str
    status: int = 307


@dataclass(frozen=True)
class SlowHeaders:
    """Nothing at all before the gate is open."""

    gate: Gate


@dataclass(frozen=True)
class HangUp:
    """Without a word."""


@dataclass(frozen=True)
class BreakInside:
    """Hang up in the middle of the first such bytes: of a character, of a call's JSON …

    They have to stand in one event.
    """

    text: str


@dataclass(frozen=True)
class Split:
    """All of it, but each piece of so many bytes by itself: characters and lines are cut."""

    size: int = 1


@dataclass(frozen=True)
class Whole:
    """One piece of JSON, though a stream was asked for."""


@dataclass(frozen=True)
class WrongLength:
    """A Content-Length that is so much more than the body (it ends early), or less (it is cut)."""

    by: int


Fault: TypeAlias = (
    "Refused | Html | Redirect | SlowHeaders | HangUp | BreakInside | Split | Whole | WrongLength"
)


class Broken(Exception):
    """The connection is to be closed here."""


async def broken_off(body: AsyncIterator[bytes], text: str) -> AsyncIterator[bytes]:
    """
    :raises Broken: after the first half of ``text``.
    """
    needle = text.encode()
    async for data in body:
        if (at := data.find(needle)) >= 0:
            yield data[: at + max(1, len(needle) // 2)]
            raise Broken
        yield data
    raise AssertionError(f"{text!r} does not stand in the answer")


async def split(body: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    async for data in body:
        for start in range(0, len(data), size):
            yield data[start : start + size]
