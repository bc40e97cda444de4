"""``streamhub gateway``: an API that speaks as OpenAI does, with answers that survive."""

from __future__ import annotations

import signal
from typing import Any, NamedTuple

from ..errors import StoreUnavailable
from .exits import Code
from .interrupts import interrupts
from .place import Place
from .terminal import note, redacted

__all__ = ["GatewayOptions", "gateway"]


class GatewayOptions(NamedTuple):
    """What is before the gateway, what is behind it, and how it answers."""

    host: str
    port: int
    upstream: str
    #: Several stand apart by spaces.
    api_key: str | None
    upstream_key: str | None
    metrics_token: str | None
    detach: bool
    retry_lost: bool
    upstream_api: Any
    drain: float
    #: Of ``streamhub.gateway.Limits``, those that are given.
    limits: dict[str, Any]


async def gateway(place: Place, options: GatewayOptions) -> int:
    """Serve until a signal says stop; the exit code."""
    try:
        from ..gateway import Limits, create_gateway
        from ..gateway.errors import GatewayError, response_of
        from ..http.server import HubServer, LocalOnly, beside, is_loopback, listen
        from ..instruments.prometheus import PrometheusInstrument, metrics_app
    except ModuleNotFoundError as missing:
        note(f'gateway needs {missing.name}: pip install "streamhub-llm[gateway]"', style="red")
        return Code.USAGE
    hub = place.hub(instruments=[PrometheusInstrument()])
    metrics_token = (options.metrics_token or "").strip() or None
    keys = (options.api_key or "").split() or None
    try:
        limits = Limits(**options.limits)
        app = create_gateway(
            hub,
            upstream=options.upstream,
            api_key=keys,
            # A variable that is set to nothing is not set.
            upstream_key=(options.upstream_key or "").strip() or None,
            detach=options.detach,
            retry_lost=options.retry_lost,
            upstream_api=options.upstream_api,
            limits=limits,
        )
        listening = listen(options.host, options.port, public=True)
    except ValueError as error:
        note(str(error), style="red")
        return Code.USAGE
    except OSError as error:
        where = f"{options.host}, port {options.port}"
        note(f"cannot listen on {where}: {error.strerror or error}", style="red")
        return Code.OTHER
    address = listening.getsockname()
    served: Any = app
    if keys is None and is_loopback(address[0]):
        message = "without --api-key only programs and pages of this machine are served here"
        if metrics_token is None:
            served = beside(app, metrics_app())
        served = LocalOnly(served, (), refusal=response_of(GatewayError(403, "forbidden", message)))
    if metrics_token is not None:
        # Of its own: the keys are those of users.
        served = beside(served, metrics_app(token=metrics_token))
    shown = f"[{address[0]}]" if ":" in address[0] else address[0]
    server = HubServer(
        served,
        hub,
        drain=options.drain,
        # What is a little too large is told so, as over HTTP.
        largest_frame=2 * limits.max_body_bytes,
        on_started=lambda: note(
            f"a gateway to {options.upstream} on http://{shown}:{address[1]}/v1, "
            f"with its answers in {hub!r}"
        ),
    )
    try:
        await hub.active(["health"])
    except StoreUnavailable as error:
        away = redacted(str(error), place.url)
        note(f"{away}; serving all the same, until it is back", style="yellow")

    def stop(number: signal.Signals) -> None:
        server.stop()

    with interrupts(stop):
        # Closes the hub, and at last its connections to the upstream.
        async with app.router.lifespan_context(app):
            await server.serve([listening])
    return Code.FINISHED
