"""``ends``, ``serve``, ``doctor``: what others are told, and how the store is."""

from __future__ import annotations

from typing import Annotated

import typer

from ...stores.feeds import check_feed
from ..ends import follow_ends, list_dead
from ..exits import finish, refuse
from ..options import JsonOption, KeyPrefixOption, RedisOption, place_of
from ..serve import WebhookOptions, serve as serve_hub

__all__ = ["doctor", "ends", "serve"]


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
    key_prefix: KeyPrefixOption = None,
) -> None:
    """Follow the ends of all sessions: a JSON object per line, with text and metadata.

    Also of those that ended before, as far as they are stored. An end counts as delivered once its
    line is written; one that may not have been read whole comes again, with the same "key".

    Exit code: 0 with --dead or after --wait; 7 the store is unavailable; 130 interrupted, or a
    reader of standard output that left.
    """
    if retry and not dead:
        refuse("--retry goes with --dead")
    place = place_of(context, redis, key_prefix)
    try:
        check_feed(name)
    except ValueError as error:
        refuse(f"--name: {error}")
    if dead:
        finish(place.url, lambda: list_dead(place, name, retry=retry))
    finish(
        place.url,
        lambda: follow_ends(place, name, lost_after=lost_after, max_unsaved=max_unsaved, wait=wait),
    )


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
    metrics_token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="STREAMHUB_METRICS_TOKEN",
            help="What opens GET /metrics, and nothing else, instead of --token. It belongs in the "
            "variable.",
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
    key_prefix: KeyPrefixOption = None,
) -> None:
    """Serve the sessions over HTTP: follow, look, list, cancel and remove them.

    GET /openapi.json describes it, GET /health says whether the store answers, GET /metrics is for
    Prometheus. Without a token it listens on a loopback address only. SIGTERM and Ctrl-C end open
    responses, so that their clients ask again elsewhere, without ending a session; a second one
    cuts --drain short.

    Exit code: 0 after a signal; 2 wrong usage, or an address that needs a token; 9 the address
    cannot be listened on.
    """
    place = place_of(context, redis, key_prefix)
    if token is not None and not token.strip():
        refuse("--token must not be empty")
    if metrics_token is not None and not metrics_token.strip():
        refuse("--metrics-token must not be empty")
    target = None
    if webhook:
        if not (webhook_secret or "").strip():
            refuse("--webhook needs a secret: set STREAMHUB_WEBHOOK_SECRET")
        target = WebhookOptions(webhook, webhook_secret or "", webhook_name)
    finish(
        place.url,
        lambda: serve_hub(
            place,
            host,
            port,
            token=token,
            metrics_token=metrics_token,
            origins=cors_origin or [],
            drain=drain,
            webhook=target,
        ),
    )


def doctor(
    context: typer.Context,
    as_json: JsonOption = False,
    redis: RedisOption = None,
    key_prefix: KeyPrefixOption = None,
) -> None:
    """Say what a Redis means for the guarantees, and try a session from end to end.

    Looks at version, role, memory policy, persistence, replicas, the user's rights, Pub/Sub
    buffers and more, on every primary of a cluster. Changes nothing but a session of its own,
    which it removes.

    Exit code: 0; 1 there is a problem; 7 the store is unavailable.
    """
    place = place_of(context, redis, key_prefix)

    async def examine() -> int:
        # Brings what speaks to Redis, which takes longer to import than most commands to run.
        from ..doctor import doctor

        return await doctor(place, as_json=as_json)

    finish(place.url, examine)
