"""The Lua scripts, one file per operation, and how they are called."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Argument", "Call", "Command", "Script", "load_scripts"]

Argument = bytes | str | int
Command = tuple[Argument, ...]


class Script(NamedTuple):
    text: bytes
    sha: bytes


class Call:
    """A script call: by its SHA, or in full where the server has forgotten that. Keys and arguments
    may be added until it is sent."""

    __slots__ = ("arguments", "keys", "script")

    def __init__(self, script: Script, keys: Iterable[str], *arguments: Argument) -> None:
        self.script = script
        self.keys = [*keys]
        self.arguments = [*arguments]

    @property
    def by_sha(self) -> Command:
        return (b"EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)

    @property
    def in_full(self) -> Command:
        return (b"EVAL", self.script.text, len(self.keys), *self.keys, *self.arguments)


def load_scripts(*, sharded: bool = False) -> dict[str, Script]:
    """All operations by their name, each with the prelude in front.

    :param sharded: tell live events and cancels on sharded channels.
    """
    folder = files(__package__) / "lua"
    switch = b"local sharded = true\n" if sharded else b"local sharded = false\n"
    prelude = switch + (folder / "prelude.lua").read_bytes()
    scripts = {}
    for file in folder.iterdir():
        name, _, extension = file.name.partition(".")
        if extension == "lua" and name != "prelude":
            text = prelude + b"\n" + file.read_bytes()
            scripts[name] = Script(text, sha1(text, usedforsecurity=False).hexdigest().encode())
    return scripts
