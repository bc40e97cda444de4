"""The Lua scripts, one file per operation."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Script", "load_scripts"]


class Script(NamedTuple):
    text: bytes
    sha: bytes


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
