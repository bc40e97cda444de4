"""What a check-up is made of: what each server told, and what that means."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["Checkup", "Facts", "Finding", "Level"]


class Level(StrEnum):
    OK = "ok"
    #: Worth knowing; nothing to do.
    NOTE = "note"
    #: Works, and a guarantee is weaker than it could be.
    WARNING = "warning"
    #: Does not work, or a guarantee does not hold.
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about a server, in plain words; the G-numbers are those of docs/guarantees.md."""

    level: Level
    subject: str
    #: What was found.
    found: str
    #: What it means for the guarantees.
    meaning: str = ""
    #: What to do about it.
    advice: str = ""
    #: The server; None for what concerns all of them.
    server: str | None = None


class Checkup(msgspec.Struct, frozen=True):
    #: What errors call the store, never with a password.
    store: str
    findings: list[Finding]
    #: A session on each server, that nobody else uses.
    scratch: dict[str, str]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What one server told. None, or missing from ``config``: it does not tell."""

    #: Seconds that it took to answer.
    latency: float
    #: Whether it was found as a node of a cluster.
    is_node: bool
    info: dict[str, str] | None
    config: dict[str, str]
    #: ``master``, ``slave`` or ``sentinel``.
    role: str | None
    cluster: dict[str, str] | None
    #: What the cluster says of its nodes: flags by address.
    nodes: dict[str, str] | None
    #: How far the server's clock is ahead of ours, in seconds.
    ahead: float | None
    user: str | None
    #: What the keys and channels begin with.
    key_prefix: str
    #: What the user may not do, by the words of the server: what was tried, and the refusal.
    refused: dict[str, str]

    def text(self, name: str) -> str | None:
        return None if self.info is None else self.info.get(name)

    def number(self, name: str) -> int | None:
        text = self.text(name)
        return int(text) if text is not None and text.isdigit() else None
