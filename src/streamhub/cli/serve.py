"""``streamhub serve``: the sessions of a Redis over HTTP."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import NamedTuple

from ..errors import StoreUnavailable
from .doctor import findings_of
from .exits import Code
from .interrupts import interrupts
from .place import Place
from .terminal import note, redacted

__all__ = ["WebhookOptions", "serve"]


class WebhookOptions(NamedTuple):
    """Where ends are posted to, and by which feed; several secrets stand apart by spaces."""

    url: str
    secret: str
    name: str


async def serve(
    place: Place,
    host: str,
    port: int,
    *,
    token: str | None,
    metrics_token: str | None = None,
    origins: list[str],
    drain: float = 0.0,
    webhook: WebhookOptions | None = None,
) -> int:
    """Serve until a signal says stop; the exit code."""
    try:
        from ..http.server import HubServer, beside, guarded, listen
        from ..instruments.prometheus import PrometheusInstrument, metrics_app
    except ModuleNotFoundError as missing:
        note(f'serve needs {missing.name}: pip install "streamhub-llm[serve]"', style="red")
        return Code.USAGE
    hub = place.hub(instruments=[PrometheusInstrument()])
    target = None
    if webhook is not None:
        try:
            from ..http.webhook import WebhookTarget

            target = WebhookTarget(webhook.url, webhook.secret.split())
            hub.ends(webhook.name)
        except ModuleNotFoundError as missing:
            note(
                f'--webhook needs {missing.name}: pip install "streamhub-llm[webhooks]"',
                style="red",
            )
            return Code.USAGE
        except ValueError as error:
            note(f"--webhook: {error}", style="red")
            return Code.USAGE
    # A variable that is set to nothing is not set.
    token = (token or "").strip() or None
    metrics_token = (metrics_token or "").strip() or None
    metrics = metrics_app(token=metrics_token)
    findings = partial(findings_of, place)
    if metrics_token is None:
        app = guarded(hub, token=token, origins=origins, metrics=metrics, findings=findings)
    else:
        app = beside(guarded(hub, token=token, origins=origins, findings=findings), metrics)
    try:
        listening = listen(host, port, public=token is not None)
    except ValueError as error:
        note(str(error), style="red")
        return Code.USAGE
    except OSError as error:
        note(f"cannot listen on {host}, port {port}: {error.strerror or error}", style="red")
        return Code.OTHER
    address = listening.getsockname()
    shown = f"[{address[0]}]" if ":" in address[0] else address[0]
    server = HubServer(
        app,
        hub,
        drain=drain,
        on_started=lambda: note(f"serving {hub!r} on http://{shown}:{address[1]}"),
    )
    try:
        await hub.active(["health"])
    except StoreUnavailable as error:
        away = redacted(str(error), place.url)
        note(f"{away}; serving all the same, until it is back", style="yellow")

    def stop(number: signal.Signals) -> None:
        server.stop()

    with interrupts(stop):
        async with asyncio.TaskGroup() as tasks:
            delivering = []
            if target is not None and webhook is not None:
                delivering.append(tasks.create_task(target.deliver(hub, webhook.name)))
            # Closes the hub, with which the deliveries end; what is left of them is broken off.
            await server.serve([listening])
            for task in delivering:
                task.cancel()
    return Code.FINISHED
