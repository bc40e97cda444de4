"""``run`` and ``tail``: into a session, and out of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..exits import finish, refuse
from ..options import KeyPrefixOption, RedisOption, SessionArgument, json_value, place_of
from ..run import run as run_command
from ..tail import Asked, Form, shown_of, tail as tail_session, types_of

__all__ = ["run", "tail"]


class Takeover(StrEnum):
    RESTART = "restart"
    CONTINUE = "continue"


def run(
    context: typer.Context,
    session: SessionArgument,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            help="What to run, after a --; without it, standard input is read.",
            show_default=False,
        ),
    ] = None,
    takeover: Annotated[
        Takeover,
        typer.Option(help="What to do with a session that has ended: begin anew, or go on."),
    ] = Takeover.RESTART,
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whom the session belongs to.")
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="What readers may want to know about it.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Do not show what is streamed.")
    ] = False,
    grace: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long a command that is told to stop may take before it is killed.",
        ),
    ] = 3.0,
    redis: RedisOption = None,
    key_prefix: KeyPrefixOption = None,
) -> None:
    """Stream a command's output into a session as it comes, and show it.

    The text must be UTF-8; what is not becomes U+FFFD. A cancel from anywhere ends the command
    and all that it started (SIGTERM, after the grace SIGKILL), and so do Ctrl-C (the stream
    ends as cancelled) and SIGTERM or SIGHUP (it ends as failed).

    Exit code: the command's own, 128 + n if signal n ended it or us, or

    \b
      2  wrong usage
    123  the session was not claimed: somebody else's, or complete; nothing was started
    124  cancelled
    125  the stream could not be stored (the command is ended)
    126  the command cannot be executed
    127  the command was not found
    """
    place = place_of(context, redis, key_prefix)
    value = json_value(metadata)
    finish(
        place.url,
        lambda: run_command(
            place,
            session,
            command or (),
            takeover=takeover.value,
            owner=owner,
            metadata=value,
            quiet=quiet,
            grace=grace,
        ),
    )


def tail(
    context: typer.Context,
    session: SessionArgument,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="CURSOR",
            help="Go on after this cursor; 'now' skips what is stored.",
            show_default="the start",
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Begin with the last N stored chunks, or a few more: where a part begins.",
        ),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            metavar="TYPES",
            help="Only chunks of these event types, between commas; 'message' is text, which has "
            "none, and 'ui:tool-*' stands for parts of such kinds.",
        ),
    ] = None,
    show: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="'tools', 'reasoning', or both between commas: beside the text, on lines of their "
            "own.",
        ),
    ] = None,
    batch: Annotated[
        bool, typer.Option("--batch", help="Take what is stored already as one chunk.")
    ] = False,
    cursors: Annotated[
        bool,
        typer.Option(
            "--cursors",
            help="A line per chunk: its cursor, its text as a JSON string and, if it has one, "
            "its event type, between tabs.",
        ),
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="Wait so long for a session that is not there yet."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="A JSON object per line: data, cursor and event of each chunk, or part, cursor "
            "and event; the last has status, cursor and error.",
        ),
    ] = False,
    redis: RedisOption = None,
    key_prefix: KeyPrefixOption = None,
) -> None:
    """Replay a session and follow it to its end.

    Standard output gets the text, byte for byte, that of parts included; other chunks with an
    event type are no part of it and show with --cursors and --json only. Standard error gets how
    it ended, and the cursor. An interrupted tail says where to go on: what was written is never
    lost or doubled.

    Exit code:

    \b
      0  finished
      1  failed: the producer ended with an error
      2  wrong usage, a bad cursor or a bad session name
      3  cancelled
      4  lost: the producer died
      5  no such session, or it was removed or has expired
      6  replaced: the session began anew, or the chunks after the cursor have expired
      7  the store is unavailable
      9  any other error
    130  interrupted by SIGINT, SIGTERM, SIGHUP, or a reader of standard output that left
    """
    if cursors and as_json:
        refuse("--cursors and --json exclude each other")
    if after is not None and last is not None:
        refuse("--after and --last exclude each other")
    if show is not None and (cursors or as_json):
        refuse("--show is for text: --cursors and --json have all chunks")
    form = Form.JSON if as_json else Form.CURSORS if cursors else Form.TEXT
    types, shown = types_of(events), shown_of(show)
    asked = Asked(after, last, types, shown, batch=batch, wait=wait, form=form)
    place = place_of(context, redis, key_prefix)
    finish(place.url, lambda: tail_session(place, session, asked))
