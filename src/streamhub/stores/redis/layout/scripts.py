"""The Lua scripts, one file per operation, and how they are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Argument", "Call", "Command", "Script", "load_scripts"]

Argument = bytes | str | int
Command = tuple[Argument, ...]

_COMMENT = re.compile(rb"^ *--.*\n", re.MULTILINE)
_WORD = re.compile(rb"\w+")
_DEFINITION = re.compile(rb"^local (?:function )?(\w+)", re.MULTILINE)


class Script(NamedTuple):
    text: bytes
    sha: bytes


class Call:
    """A script call: by its SHA, or in full where the server has forgotten that. Keys and arguments
    may be added until it is sent."""

    __slots__ = ("arguments", "keys", "script")

    def __init__(self, script: Script, keys: Iterable[str], *arguments: Argument) -> None:
        self.script: Script = script
        self.keys: list[str] = [*keys]
        self.arguments: list[Argument] = [*arguments]

    @property
    def by_sha(self) -> Command:
        return (b"EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)

    @property
    def in_full(self) -> Command:
        return (b"EVAL", self.script.text, len(self.keys), *self.keys, *self.arguments)


def load_scripts(*, sharded: bool = False) -> dict[str, Script]:
    """All operations by their name, each with what it uses of the prelude in front.

    :param sharded: tell live events and cancels on sharded channels.
    """
    folder = files(__package__) / "lua"
    switch = b"local sharded = true\n" if sharded else b"local sharded = false\n"
    definitions = _definitions(switch + _code((folder / "prelude.lua").read_bytes()))
    scripts = {}
    for file in folder.iterdir():
        name, _, extension = file.name.partition(".")
        if extension == "lua" and name != "prelude":
            text = _with_used(definitions, _code(file.read_bytes()))
            scripts[name] = Script(text, sha1(text, usedforsecurity=False).hexdigest().encode())
    return scripts


def _code(text: bytes) -> bytes:
    """Without the lines that are comments."""
    return _COMMENT.sub(b"", text)


class _Definition(NamedTuple):
    name: bytes
    text: bytes
    words: frozenset[bytes]


def _definitions(prelude: bytes) -> list[_Definition]:
    """The names that the prelude gives, each with the text that does. One uses none after it."""
    starts = [*_DEFINITION.finditer(prelude)]
    ends = [*(one.start() for one in starts[1:]), len(prelude)]
    texts = [prelude[one.start() : end] for one, end in zip(starts, ends, strict=True)]
    return [
        _Definition(one[1], text, frozenset(_WORD.findall(text)))
        for one, text in zip(starts, texts, strict=True)
    ]


def _with_used(definitions: Sequence[_Definition], text: bytes) -> bytes:
    """A script makes each function of the prelude anew whenever it is called: it gets no more of
    them than it uses."""
    parts, words = [text], {*_WORD.findall(text)}
    for definition in reversed(definitions):
        if definition.name in words:
            parts.append(definition.text)
            words |= definition.words
    return b"".join(reversed(parts))
