"""The options that commands share, and what they say."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from ..stores.open_store import SCHEMES
from .exits import refuse

__all__ = ["REDIS_SCHEMES", "JsonOption", "RedisOption", "SessionArgument", "json_value", "url_of"]

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
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="The session's name, as in chat:123.")
]


def url_of(context: typer.Context, option: str | None) -> str:
    url: str = option or context.obj or ""
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
    return url


def json_value(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        refuse(f"--metadata is not JSON: {error}")
