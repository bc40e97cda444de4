"""The producer process: it is told on standard input which session to produce, a JSON line each.

It ends with its standard input. ``processes`` starts it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from streamhub import Hub, StreamHubError

from .answer import Model
from .producers import CONFIG, begin, supervise


async def main() -> None:
    """Serve until standard input ends."""
    model = Model(
        url=os.environ["STREAMHUB_DEMO_MODEL_URL"],
        name=os.environ["STREAMHUB_DEMO_MODEL"],
        key=os.environ["STREAMHUB_DEMO_MODEL_KEY"],
    )
    orders = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with (
        Hub.from_url(os.environ["STREAMHUB_DEMO_REDIS"], config=CONFIG) as hub,
        asyncio.TaskGroup() as claims,
    ):
        supervise(hub, model, _name())
        print("ready", flush=True)
        while order := await orders.readline():
            claims.create_task(_obey(hub, model, json.loads(order)))


async def _obey(hub: Hub, model: Model, order: dict[str, str]) -> None:
    error = None
    try:
        await begin(hub, model, _name(), order["session"], order["question"])
    except StreamHubError as refusal:
        error = str(refusal)
    print(json.dumps({"number": order["number"], "error": error}), flush=True)


def _name() -> str:
    return f"process {os.getpid()}"


if __name__ == "__main__":
    asyncio.run(main())
