"""All that the demo does with streamhub. The rest of it is a page, a model and ways to break it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from streamhub import Hub, LiveStream, LostSession, Status, Supervisor
from streamhub.http import SSEResponse

Source = Callable[[LiveStream], Awaitable[None]]


async def answer(stream: LiveStream, model: Callable[[str, str], AsyncIterator[str]]) -> None:
    """Publish what the model says to a question; after a crash, what follows the stored part."""
    question = (await stream.info()).metadata["question"]
    async for token in model(question, await stream.text()):
        await stream.publish(token)


async def ask(hub: Hub, session_id: str, source: Source, metadata: dict[str, Any]) -> None:
    """Have the source answer in the background: once, however often this is asked for."""
    await hub.run(session_id, source, owner="streamhub demo", metadata=metadata)


def supervise(hub: Hub, source: Source) -> Supervisor:
    """Go on with every answer that has lost its producer, whose process may have been killed."""

    async def resume(lost: LostSession) -> Source:
        return source

    return hub.supervise(resume, owner="streamhub demo", max_resumes=1000)


def follow(hub: Hub, session_id: str) -> SSEResponse:
    """For an EventSource: what it has missed, then what comes. It sends its cursor by itself."""
    return SSEResponse(hub.get(session_id), retry=1.5, show_errors=True)


async def stop(hub: Hub, session_id: str) -> Status | None:
    """Ask the producer to stop, wherever it runs; how the answer stands then."""
    stream = await hub.get(session_id)
    return None if stream is None else await stream.cancel(wait=5.0, reason="stopped on the page")
