"""The commands, their options and their help. What they do stands in a module each."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from ..stores.feeds import check_feed
from . import sessions
from .demo import demo
from .ends import follow_ends, list_dead
from .exits import finish as _finish
from .exits import refuse as _refuse
from .run import run as run_command
from .serve import WebhookOptions
from .serve import serve as serve_hub
from .tail import Asked, Form, shown_of, types_of
from .tail import tail as tail_session

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    # Panels are for people; a file or a program gets plain text.
    rich_markup_mode="rich" if sys.stdout.isatty() and sys.stderr.isatty() else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RedisOption = Annotated[
    str | None,
    typer.Option(
        "--redis",
        metavar="URL",
        help="Where the sessions are: redis://, rediss://, valkey:// or unix://.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="The session's name, as in chat:123.")
]


class Takeover(StrEnum):
    RESTART = "restart"
    CONTINUE = "continue"


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(f"streamhub {__version__}")
        raise typer.Exit


@app.callback()
def streamhub(
    context: typer.Context,
    redis: Annotated[
        str | None,
        typer.Option(
            "--redis",
            metavar="URL",
            envvar="STREAMHUB_URL",
            help="Where the sessions are: redis://, rediss://, valkey:// or unix://. "
            "Other users can see a command line: a URL with a password belongs in the variable.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version),
    ] = False,
) -> None:
    """Resumable streams: whoever writes and whoever reads need not be there at the same time.

    A producer claims a session and streams into it. Any number of readers, anywhere, replay what
    they missed and follow live. Anyone can cancel from anywhere.
    """
    context.obj = redis


@app.command()
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
    url = _url(context, redis)
    value = _json_value(metadata)
    _finish(
        url,
        lambda: run_command(
            url,
            session,
            command or (),
            takeover=takeover.value,
            owner=owner,
            metadata=value,
            quiet=quiet,
            grace=grace,
        ),
    )


@app.command()
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
        _refuse("--cursors and --json exclude each other")
    if after is not None and last is not None:
        _refuse("--after and --last exclude each other")
    if show is not None and (cursors or as_json):
        _refuse("--show is for text: --cursors and --json have all chunks")
    form = Form.JSON if as_json else Form.CURSORS if cursors else Form.TEXT
    types, shown = types_of(events), shown_of(show)
    asked = Asked(after, last, types, shown, batch=batch, wait=wait, form=form)
    url = _url(context, redis)
    _finish(url, lambda: tail_session(url, session, asked))


@app.command("ls")
def list_sessions(
    context: typer.Context,
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those that belong to NAME.")
    ] = None,
    foreign: Annotated[
        bool,
        typer.Option(
            "--foreign",
            help="Those of the Go library as well: goes through all keys of the database.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object per line, as they are found.")
    ] = False,
    redis: RedisOption = None,
) -> None:
    """List the sessions: running ones first, then the newest.

    Exit code: 0, also if there are none; 7 if the store is unavailable.
    """
    url = _url(context, redis)
    _finish(url, lambda: sessions.list_sessions(url, owner=owner, foreign=foreign, as_json=as_json))


@app.command()
def show(
    context: typer.Context,
    session: SessionArgument,
    as_json: JsonOption = False,
    redis: RedisOption = None,
) -> None:
    """Show how a session stands.

    Exit code: 0; 5 no such session; 7 the store is unavailable.
    """
    url = _url(context, redis)
    _finish(url, lambda: sessions.show(url, session, as_json=as_json))


@app.command()
def cancel(
    context: typer.Context,
    session: SessionArgument,
    wait: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Wait so long until it has ended."),
    ] = None,
    as_json: JsonOption = False,
    redis: RedisOption = None,
) -> None:
    """Ask a session's producer to stop, wherever it runs. Safe to repeat.

    Exit code: 0 asked, or it has ended; 5 no such session; 7 the store is unavailable;
    8 still active after --wait.
    """
    url = _url(context, redis)
    _finish(url, lambda: sessions.cancel(url, session, wait=wait, as_json=as_json))


@app.command()
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
) -> None:
    """Send a message to a session's producer, wherever it runs.

    It stays until the producer, or one that continues, has handled it. Prints the message's id.

    Exit code: 0; 2 wrong usage, or a message that is too large; 5 no such session; 7 the store is
    unavailable; 9 the session has ended, or has no room for it, or takes none.
    """
    url = _url(context, redis)
    _finish(url, lambda: sessions.send(url, session, text, event=event, key=key, as_json=as_json))


@app.command("rm")
def remove(
    context: typer.Context,
    session: SessionArgument,
    as_json: JsonOption = False,
    redis: RedisOption = None,
) -> None:
    """Remove a session and all that it holds. A producer that it has can write no more.

    Exit code: 0; 5 no such session; 7 the store is unavailable.
    """
    url = _url(context, redis)
    _finish(url, lambda: sessions.remove(url, session, as_json=as_json))


@app.command("ends")
def ends(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The feed: of all who follow one name, one gets each end; each name gets all.",
        ),
    ] = "cli",
    lost_after: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long a producer must be lost before that is the end of its stream.",
        ),
    ] = 60.0,
    max_unsaved: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="How long sessions are kept after their end for as long as nobody has followed "
            "this name: it stays known for a week after the last time.",
        ),
    ] = 3600.0,
    wait: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Leave once nothing has come for so long; without it, never.",
            show_default=False,
        ),
    ] = None,
    dead: Annotated[
        bool,
        typer.Option("--dead", help="List the ends that were given up after ten attempts."),
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="With --dead: have each delivered again.")
    ] = False,
    redis: RedisOption = None,
) -> None:
    """Follow the ends of all sessions: a JSON object per line, with text and metadata.

    Also of those that ended before, as far as they are stored. An end counts as delivered once its
    line is written; one that may not have been read whole comes again, with the same "key".

    Exit code: 0 with --dead or after --wait; 7 the store is unavailable; 130 interrupted, or a
    reader of standard output that left.
    """
    if retry and not dead:
        _refuse("--retry goes with --dead")
    url = _url(context, redis)
    try:
        check_feed(name)
    except ValueError as error:
        _refuse(f"--name: {error}")
    if dead:
        _finish(url, lambda: list_dead(url, name, retry=retry))
    _finish(
        url,
        lambda: follow_ends(url, name, lost_after=lost_after, max_unsaved=max_unsaved, wait=wait),
    )


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="0 for any that is free.")
    ] = 8080,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="STREAMHUB_TOKEN",
            help="What clients must send as Authorization: Bearer TOKEN. Other users can see a "
            "command line: it belongs in the variable.",
            show_default=False,
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Whose pages may use it from a browser, as https://example.org; may be repeated.",
            show_default=False,
        ),
    ] = None,
    drain: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="How long what is under way may take to end after SIGTERM or Ctrl-C.",
        ),
    ] = 0.0,
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="STREAMHUB_WEBHOOK",
            help="Where the ends of all sessions are posted to, signed (Standard Webhooks).",
            show_default=False,
        ),
    ] = None,
    webhook_secret: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET",
            envvar="STREAMHUB_WEBHOOK_SECRET",
            help="whsec_… that signs them; several, between spaces, while one replaces another. "
            "It belongs in the variable.",
            show_default=False,
        ),
    ] = None,
    webhook_name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The feed of the ends that are posted: servers of one name share them.",
        ),
    ] = "webhook",
    redis: RedisOption = None,
) -> None:
    """Serve the sessions over HTTP: follow, look, list, cancel and remove them.

    GET /openapi.json describes it, GET /health says whether the store answers. Without a token it
    listens on a loopback address only. SIGTERM and Ctrl-C end open responses, so that their
    clients ask again elsewhere, without ending a session; a second one cuts --drain short.

    Exit code: 0 after a signal; 2 wrong usage, or an address that needs a token; 9 the address
    cannot be listened on.
    """
    url = _url(context, redis)
    if token is not None and not token.strip():
        _refuse("--token must not be empty")
    target = None
    if webhook:
        if not (webhook_secret or "").strip():
            _refuse("--webhook needs a secret: set STREAMHUB_WEBHOOK_SECRET")
        target = WebhookOptions(webhook, webhook_secret or "", webhook_name)
    _finish(
        url,
        lambda: serve_hub(
            url,
            host,
            port,
            token=token,
            origins=cors_origin or [],
            drain=drain,
            webhook=target,
        ),
    )


@app.command()
def doctor(context: typer.Context, as_json: JsonOption = False, redis: RedisOption = None) -> None:
    """Say what a Redis means for the guarantees, and try a session from end to end.

    Looks at version, role, memory policy, persistence, replicas, the user's rights, Pub/Sub
    buffers and more, on every primary of a cluster. Changes nothing but a session of its own,
    which it removes.

    Exit code: 0; 1 there is a problem; 7 the store is unavailable.
    """
    url = _url(context, redis)

    async def examine() -> int:
        # Brings what speaks to Redis, which takes longer to import than most commands to run.
        from .doctor import doctor

        return await doctor(url, as_json=as_json)

    _finish(url, examine)


app.command()(demo)


def _url(context: typer.Context, option: str | None) -> str:
    url: str = option or context.obj or ""
    if not url:
        _refuse(
            "where are the sessions? Say --redis redis://localhost:6379/0, or set STREAMHUB_URL "
            "(only the demo needs no Redis)"
        )
    if url.startswith("memory:"):
        _refuse(
            "a memory store lives and ends with this process, so nobody else could read it: "
            "give the URL of a Redis (only the demo runs in memory)"
        )
    return url


def _json_value(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        _refuse(f"--metadata is not JSON: {error}")
