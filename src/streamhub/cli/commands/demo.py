"""The options of ``streamhub demo`` and their help."""

from __future__ import annotations

from typing import Annotated

import typer

from ..exits import finish, refuse
from ..options import REDIS_SCHEMES

__all__ = ["demo"]


def demo(
    context: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Where the page is, on this machine only; 0 takes any free port.",
            show_default="8421, or the next free one",
        ),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    redis: Annotated[
        str | None,
        typer.Option(
            "--redis",
            metavar="URL",
            help="Keep the sessions there; STREAMHUB_URL is not looked at. "
            f"Schemes: {REDIS_SCHEMES}.",
            show_default="a Redis of the demo's own, if redis-server is on the PATH",
        ),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="One process, no Redis, even if there is one.")
    ] = False,
    openai_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Ask a real model: an API like OpenAI's, as http://localhost:11434/v1 (Ollama). "
            "Its key is taken from OPENAI_API_KEY.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What the model is called there.", show_default=False),
    ] = None,
    pace: Annotated[
        float | None,
        typer.Option(
            min=1, max=10_000, metavar="N", help="Tokens a second of the demo's own model server."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Try everything out without a browser, say what happens."),
    ] = False,
) -> None:
    """Open a chat page that survives everything one does to it.

    Reload it in the middle of an answer, open it twice, cut its connection, crash the producer.
    With a Redis, web server and producer are processes of their own and the crash is a SIGKILL.
    Nothing listens but on this machine, and everything ends with the command.

    Exit code: 0 once it is told to stop (Ctrl-C, SIGTERM); with --check 0 if all went well, 1 if
    not; 2 wrong usage, or the port is taken; 7 the store is unavailable; 9 no producer starts.
    """
    redis = redis or _given_before(context)
    if memory and redis is not None:
        refuse("--memory and --redis exclude each other")
    if (openai_url is None) is not (model is None):
        refuse("--openai-url and --model belong together: where the model is, and its name")
    try:
        from ..demo import model_at, show
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in ("openai", "starlette", "uvicorn"):
            raise
        refuse(f'the demo needs {package}: pip install "streamhub-llm[demo]"')
    try:
        api = None if openai_url is None or model is None else model_at(openai_url, model)
    except ValueError as error:
        refuse(str(error))
    finish(
        redis or "",
        lambda: show(
            port=port,
            open_browser=not no_open,
            redis_url=redis,
            memory=memory,
            model=api,
            pace=pace,
            check_only=check,
        ),
    )


def _given_before(context: typer.Context) -> str | None:
    """What ``--redis`` in front of the command says; the variable behind it is not looked at."""
    assert context.parent is not None
    source = context.parent.get_parameter_source("redis")
    given: str | None = context.obj[0]
    return given if source is not None and source.name == "COMMANDLINE" else None
