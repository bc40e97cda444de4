"""One run of a graph, published event by event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ...errors import StreamClosed, StreamHubError
from ...formats.langgraph import METADATA_EVENT
from ...hub import Hub
from ...producing.ending import OnEnd
from ...stream import LiveStream
from .asked import MODES, Asked
from .dumping import dumped

__all__ = ["OWNER", "Run", "Running"]

#: Where in the metadata of a checkpoint it says whose thread it is.
OWNER = "streamhub_owner"


@dataclass(frozen=True)
class Run:
    """Which one it is."""

    run_id: str
    thread_id: str
    #: Of the run's own events.
    session_id: str
    owner: str | None
    #: Whether its thread was made for it alone.
    alone: bool


class Running:
    """A run as the source of its thread: while the thread is claimed, no other run of it goes on.
    Its events are published into a session of its own, which outlasts the next run's beginning.
    """

    def __init__(self, hub: Hub, graph: Any, asked: Asked, run: Run, on_end: OnEnd | None) -> None:
        self._hub = hub
        self._graph = graph
        self._asked = asked
        self.run = run
        self._on_end = on_end
        self._begun: asyncio.Future[LiveStream] = asyncio.get_running_loop().create_future()

    async def begun(self, thread: LiveStream) -> LiveStream:
        """The stream of its events, as soon as that is claimed.

        :raises StreamHubError: it could not be.
        """
        # A hub that closes may end the thread before its source has begun.
        over = asyncio.ensure_future(thread.wait())
        either: set[asyncio.Future[Any]] = {self._begun, over}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self._begun.done():
                status = await over
                raise StreamClosed(thread.session_id, status)
            return await self._begun
        finally:
            over.cancel()
            await asyncio.gather(over, return_exceptions=True)

    async def produce(self, thread: LiveStream) -> None:
        """What ``hub.run`` takes."""
        asked, run = self._asked, self.run
        facts = {
            "assistant_id": asked.assistant_id,
            "metadata": asked.metadata,
            "multitask_strategy": asked.strategy,
        }
        try:
            stream, _ = await self._hub.register(
                run.session_id, owner=run.owner, metadata=facts, on_end=self._on_end
            )
        except BaseException as error:
            if not self._begun.done():
                self._begun.set_exception(error)
                self._begun.exception()  # whoever asked may have gone
            raise
        self._begun.set_result(stream)
        async with stream:
            try:
                await self._draw(stream)
            except Exception as error:
                await self._give_back(thread.fail(error))
                raise
            except asyncio.CancelledError:
                # A hub that closes leaves both to others.
                if stream.stopping != "handover":
                    await self._give_back(thread.close())
                raise
            await self._give_back(thread.close())

    async def _draw(self, stream: LiveStream) -> None:
        named = {"run_id": self.run.run_id, "attempt": 1}
        await stream.publish(dumped(named), event=METADATA_EVENT)
        async with aclosing(self._events()) as events:
            async for event, data in events:
                await stream.publish(data, event=event)

    async def _give_back(self, ending: Awaitable[None]) -> None:
        """End the claim on the thread, before the run's end is told: who hears of that may begin
        the next run at once."""
        if self.run.alone and not self._asked.keep_thread:
            await forget(self._graph, self.run.thread_id)
        with suppress(StreamHubError):
            await ending

    async def _events(self) -> AsyncGenerator[tuple[str, str]]:
        """Names and data, in the order in which they are streamed."""
        asked = self._asked
        wanted = {MODES[mode] for mode in asked.modes}
        # An interrupt is told whatever was asked for: as LangGraph does, in a ``values`` event.
        hidden = wanted.isdisjoint({"values", "updates"})
        grown = Grown() if "messages" in asked.modes else None
        drawing = self._graph.astream(
            self._input(),
            self._config(),
            stream_mode=[*wanted, *(["updates"] if hidden else [])],
            subgraphs=asked.subgraphs,
            **asked.options,
        )
        async with aclosing(drawing):
            async for item in drawing:
                namespace, mode, payload = item if asked.subgraphs else ((), *item)
                suffix = "".join(f"|{one}" for one in namespace)
                if hidden and mode == "updates":
                    if "__interrupt__" in payload and not namespace:
                        yield "values", dumped(payload)
                elif mode == "messages" and grown is not None:
                    for event, data in grown.take(*payload):
                        yield event + suffix, dumped(data)
                else:
                    yield mode + suffix, dumped(payload)

    def _input(self) -> Any:
        command = self._asked.command
        if command is None:
            return self._asked.input
        from langgraph.types import Command, Send

        def place(stated: Any) -> Any:
            return Send(stated["node"], stated.get("input")) if isinstance(stated, dict) else stated

        goto = command.get("goto") or ()
        return Command(
            resume=command.get("resume"),
            update=command.get("update"),
            goto=[place(one) for one in goto] if isinstance(goto, list) else place(goto),
        )

    def _config(self) -> dict[str, Any]:
        asked, run = self._asked, self.run
        stated = asked.config.get("configurable")
        configurable = {} if not isinstance(stated, dict) else stated
        ours: dict[str, Any] = {
            "thread_id": run.thread_id,
            "run_id": run.run_id,
            "assistant_id": asked.assistant_id,
        }
        owned: dict[str, Any] = {}
        if run.owner is not None:
            owned = {OWNER: run.owner}
            ours["langgraph_auth_user_id"] = run.owner
        # What begins so is between LangGraph and its graphs: none of a client's business.
        theirs = {
            name: value
            for name, value in configurable.items()
            if not name.startswith("__") and name not in (OWNER, "langgraph_auth_user_id")
        }
        config: dict[str, Any] = {
            name: asked.config[name] for name in ("tags", "recursion_limit") if name in asked.config
        }
        stated = asked.config.get("metadata")
        metadata = stated if isinstance(stated, dict) else {}
        return {
            **config,
            "run_id": UUID(run.run_id),
            "configurable": {**theirs, **asked.checkpoint, **ours},
            "metadata": {**metadata, **asked.metadata, "run_id": run.run_id, **owned},
        }


async def forget(graph: Any, thread_id: str) -> None:
    """Delete what is stored of a thread, if its graph's checkpointer can."""
    delete = getattr(getattr(graph, "checkpointer", None), "adelete_thread", None)
    if delete is not None:
        await delete(thread_id)


class Grown:
    """What the mode ``messages`` tells: of each message what there is of it, again and again."""

    def __init__(self) -> None:
        self._pieces: dict[str, Any] = {}

    def take(self, piece: Any, metadata: Any) -> list[tuple[str, Any]]:
        from langchain_core.messages import BaseMessageChunk, message_chunk_to_message

        events: list[tuple[str, Any]] = []
        before = self._pieces.get(piece.id)
        if before is None:
            events.append(("messages/metadata", {piece.id: {"metadata": metadata}}))
        if not isinstance(piece, BaseMessageChunk):
            self._pieces[piece.id] = piece
            return [*events, ("messages/complete", [piece])]
        whole = piece if before is None else before + piece
        self._pieces[piece.id] = whole
        return [*events, ("messages/partial", [message_chunk_to_message(whole)])]
