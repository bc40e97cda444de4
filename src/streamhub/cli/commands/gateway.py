"""``gateway``: what stands in front of an API."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..exits import finish, refuse
from ..gateway import GatewayOptions, gateway as serve_gateway
from ..options import KeyPrefixOption, RedisOption, place_of

__all__ = ["gateway"]

_MIB = 1024 * 1024


class UpstreamSpeaks(StrEnum):
    AUTO = "auto"
    RESPONSES = "responses"
    CHAT = "chat"


def gateway(
    context: typer.Context,
    upstream: Annotated[
        str,
        typer.Option(
            metavar="URL",
            envvar="STREAMHUB_UPSTREAM",
            help="The API, as the SDKs take it for base_url: http://localhost:11434/v1 (Ollama), "
            "https://api.openai.com/v1.",
            show_default=False,
        ),
    ],
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="STREAMHUB_GATEWAY_KEY",
            help="What clients must send as Authorization: Bearer KEY; several, between spaces. "
            "Other users can see a command line: it belongs in the variable. Without it, the "
            "clients' own keys go upstream.",
            show_default=False,
        ),
    ] = None,
    upstream_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="STREAMHUB_UPSTREAM_KEY",
            help="What goes upstream instead, with --api-key. It belongs in the variable.",
            show_default=False,
        ),
    ] = None,
    metrics_token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="STREAMHUB_METRICS_TOKEN",
            help="What opens GET /metrics, and nothing else. It belongs in the variable. Without "
            "it they are for programs of this machine alone, where no --api-key is asked for.",
            show_default=False,
        ),
    ] = None,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Go on with an answer whose client leaves."),
    ] = False,
    retry_lost: Annotated[
        bool,
        typer.Option(
            "--retry-lost",
            help="Ask the upstream again for an answer that was lost with its gateway: it is paid "
            "for twice.",
        ),
    ] = False,
    upstream_api: Annotated[
        UpstreamSpeaks,
        typer.Option(
            help="What the upstream speaks: chat for Chat Completions alone, to which the "
            "Responses API is translated. auto finds out.",
        ),
    ] = UpstreamSpeaks.AUTO,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="0 for any that is free.")
    ] = 8080,
    drain: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="How long answers may take to end after SIGTERM or Ctrl-C.",
        ),
    ] = 30.0,
    max_answers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="How many answers each key may have under way here at once.",
            show_default="any number",
        ),
    ] = None,
    max_body: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="MIB",
            help="The largest body of a request for an answer.",
            show_default="16",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="How long the upstream may say nothing.",
            show_default="600",
        ),
    ] = None,
    redis: RedisOption = None,
    key_prefix: KeyPrefixOption = None,
) -> None:
    """Put a gateway in front of an API such as OpenAI's: its answers can be resumed and cancelled.

    Clients need another base_url, and nothing else: http://HOST:PORT/v1. Streamed answers stand in
    Redis, so that they survive their client, its network, and go on at any other gateway. GET
    /health says whether Redis answers, GET /metrics is for Prometheus. SIGTERM and Ctrl-C wait for
    what is under way; a second one does not.

    Exit code: 0 after a signal; 2 wrong usage; 9 the address cannot be listened on.
    """
    place = place_of(context, redis, key_prefix)
    if api_key is not None and not api_key.strip():
        refuse("--api-key must not be empty")
    if metrics_token is not None and not metrics_token.strip():
        refuse("--metrics-token must not be empty")
    given = {
        "max_answers_per_key": max_answers,
        "max_body_bytes": None if max_body is None else int(max_body * _MIB),
        "upstream_timeout": timeout,
    }
    options = GatewayOptions(
        host=host,
        port=port,
        upstream=upstream,
        api_key=api_key,
        upstream_key=upstream_key,
        metrics_token=metrics_token,
        detach=detach,
        retry_lost=retry_lost,
        upstream_api=upstream_api.value,
        drain=drain,
        limits={name: value for name, value in given.items() if value is not None},
    )
    finish(place.url, lambda: serve_gateway(place, options))
