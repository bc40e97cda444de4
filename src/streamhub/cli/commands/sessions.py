"""``ls``, ``show``, ``cancel``, ``send``, ``rm``: what is there, and what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import sessions
from ..exits import finish, refuse
from ..options import JsonOption, KeyPrefixOption, RedisOption, SessionArgument, place_of
from ..watching import query_of, watch as watch_sessions

__all__ = ["cancel", "list_sessions", "remove", "send", "show", "top"]


def list_sessions(
    context: typer.Context,
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those that belong to NAME.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            metavar="STATUS",
            help="Only those that stand so: active, finished, failed, cancelled or lost; several "
            "between commas.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The first N of them.")
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Go on: a terminal's list is drawn anew, to all else a line is written for each "
            "session that changes.",
        ),
    ] = False,
    foreign: Annotated[
        bool,
        typer.Option(
            "--foreign",
            help="Those of the Go library as well: goes through all keys of the database.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a JSON object per line: as they are found or, with --limit, in order.",
        ),
    ] = False,
    redis: RedisOption = None,
    key_prefix: KeyPrefixOption = None,
) -> None:
    """List the sessions: running ones first, then the newest.

    With --watch --json a line is what is known of a session by looking at it again and again (how
    many chunks a second, when the last came; times are seconds since 1970), or says that it is
    "gone": removed, expired, or not one of those that are asked for any more.

    Exit code: 0, also if there are none; 7 if the store is unavailable; 130 with --watch, once
    interrupted.
    """
    if watch and foreign:
        refuse("--watch and --foreign exclude each other: all keys are too many to look at")
    if watch:
        place = place_of(context, redis, key_prefix)
        query = query_of(owner=owner, status=status)
        finish(place.url, lambda: watch_sessions(place, query, limit=limit, as_json=as_json))
    asked = sessions.Asked(owner, sessions.statuses_of(status), limit, foreign=foreign)
    place = place_of(context, redis, key_prefix)
    finish(place.url, lambda: sessions.list_sessions(place, asked, as_json=as_json))


def top(
    context: typer.Context,
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those that belong to NAME.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            metavar="STATUS",
            help="Only those that stand so: active, finished, failed, cancelled, lost or damaged; "
            "several between commas.",
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="COLUMN", help="What they are sorted by.")
    ] = "created",
    redis: RedisOption = None,
    key_prefix: KeyPrefixOption = None,
) -> None:
    """Watch all sessions in a terminal: who writes, who is silent, what died and why.

    Arrows select, Enter opens one, whose text is followed; / searches, f and o filter by status
    and owner, < and > sort, s stops a session and x removes it, once you have said yes.

    Exit code: 0; 2 wrong usage, or no terminal; 7 the store is unavailable; 130 interrupted by a
    signal.
    """
    place = place_of(context, redis, key_prefix)
    query = query_of(owner=owner, status=status, sort=sort)
    try:
        from ..top.show import has_terminal, show
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "textual":
            raise
        refuse('top needs textual: pip install "streamhub-llm[top]"')
    if not has_terminal():
        refuse("top needs a terminal: for a file or a program there is streamhub ls --json")
    finish(place.url, lambda: show(place, query))


def show(
    context: typer.Context,
    session: SessionArgument,
    as_json: JsonOption = False,
    redis: RedisOption = None,
    key_prefix: KeyPrefixOption = None,
) -> None:
    """Show how a session stands.

    Exit code: 0; 5 no such session; 7 the store is unavailable.
    """
    place = place_of(context, redis, key_prefix)
    finish(place.url, lambda: sessions.show(place, session, as_json=as_json))


def cancel(
    context: typer.Context,
    session: SessionArgument,
    wait: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Wait so long until it has ended."),
    ] = None,
    as_json: JsonOption = False,
    redis: RedisOption = None,
    key_prefix: KeyPrefixOption = None,
) -> None:
    """Ask a session's producer to stop, wherever it runs. Safe to repeat.

    Exit code: 0 asked, or it has ended; 5 no such session; 7 the store is unavailable;
    8 still active after --wait.
    """
    place = place_of(context, redis, key_prefix)
    finish(place.url, lambda: sessions.cancel(place, session, wait=wait, as_json=as_json))


def send(
    context: typer.Context,
    session: SessionArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The message.")],
    event: Annotated[
        str | None, typer.Option(metavar="TYPE", help="What kind of message it is.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A name for it: sent again under it, it is not sent twice."
        ),
    ] = None,
    as_json: JsonOption = False,
    redis: RedisOption = None,
    key_prefix: KeyPrefixOption = None,
) -> None:
    """Send a message to a session's producer, wherever it runs.

    It stays until the producer, or one that continues, has handled it. Prints the message's id.

    Exit code: 0; 2 wrong usage, or a message that is too large; 5 no such session; 7 the store is
    unavailable; 9 the session has ended, or has no room for it, or takes none.
    """
    place = place_of(context, redis, key_prefix)
    finish(
        place.url,
        lambda: sessions.send(place, session, text, event=event, key=key, as_json=as_json),
    )


def remove(
    context: typer.Context,
    session: SessionArgument,
    as_json: JsonOption = False,
    redis: RedisOption = None,
    key_prefix: KeyPrefixOption = None,
) -> None:
    """Remove a session and all that it holds. A producer that it has can write no more.

    Exit code: 0; 5 no such session; 7 the store is unavailable.
    """
    place = place_of(context, redis, key_prefix)
    finish(place.url, lambda: sessions.remove(place, session, as_json=as_json))
