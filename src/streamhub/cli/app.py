"""The command, and the order in which its help lists what it can do."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .commands.demo import demo
from .commands.gateway import gateway
from .commands.services import doctor, ends, serve
from .commands.sessions import cancel, list_sessions, remove, send, show, top
from .commands.streams import run, tail
from .options import REDIS_SCHEMES

__all__ = ["app"]

app: typer.Typer = typer.Typer(
    no_args_is_help=True,
    # Panels are for people; a file or a program gets plain text.
    rich_markup_mode="rich" if sys.stdout.isatty() and sys.stderr.isatty() else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
            help="Where the sessions are, as redis://localhost:6379/0. "
            f"Schemes: {REDIS_SCHEMES}. "
            "Other users can see a command line: a URL with a password belongs in the variable.",
            show_default=False,
        ),
    ] = None,
    key_prefix: Annotated[
        str | None,
        typer.Option(
            "--key-prefix",
            metavar="TEXT",
            envvar="STREAMHUB_KEY_PREFIX",
            help="What their keys begin with, where that is not the default: HubConfig.key_prefix.",
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
    context.obj = (redis, key_prefix)


app.command()(run)
app.command()(tail)
app.command("ls")(list_sessions)
app.command()(top)
app.command()(show)
app.command()(cancel)
app.command()(send)
app.command("rm")(remove)
app.command()(ends)
app.command()(serve)
app.command()(gateway)
app.command()(doctor)
app.command()(demo)
