"""The options that commands share, and what they say."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from ..config import HubConfig
from ..stores.open_store import SCHEMES
from .exits import refuse
from .place import Place

__all__ = [
    "REDIS_SCHEMES",
    "JsonOption",
    "KeyPrefixOption",
    "RedisOption",
    "SessionArgument",
    "json_value",
    "place_of",
]

#: What a URL may begin with: a memory store ends with the command.
REDIS_SCHEMES = ", ".join(f"{scheme}://" for scheme in SCHEMES if scheme != "memory")

RedisOption = Annotated[
    str | None,
    typer.Option(
        "--redis",
        metavar="URL",
        help=f"Where the sessions are, as redis://localhost:6379/0. Schemes: {REDIS_SCHEMES}.",
        show_default=False,
    ),
]
KeyPrefixOption = Annotated[
    str | None,
    typer.Option(
        "--key-prefix",
        metavar="TEXT",
        help="What their keys begin with, where that is not the default: HubConfig.key_prefix.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="The session's name, as in chat:123.")
]


def place_of(context: typer.Context, redis: str | None, key_prefix: str | None) -> Place:
    """Where the sessions are, by the options of the command or else those before it."""
    redis_before, prefix_before = context.obj
    url: str = redis or redis_before or ""
    if not url:
        refuse(
            "where are the sessions? Say --redis redis://localhost:6379/0, or set STREAMHUB_URL "
            "(only the demo needs no Redis)"
        )
    if url.startswith("memory:"):
        refuse(
            "a memory store lives and ends with this process, so nobody else could read it: "
            "give the URL of a Redis (only the demo runs in memory)"
        )
    prefixes = (one for one in (key_prefix, prefix_before) if one is not None)
    try:
        return Place(url, HubConfig(key_prefix=next(prefixes, HubConfig().key_prefix)).key_prefix)
    except ValueError as error:
        refuse(f"--key-prefix: {error}")


def json_value(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        refuse(f"--metadata is not JSON: {error}")
