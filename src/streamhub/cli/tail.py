"""``streamhub tail``: replay a session to standard output and follow it to its end."""

from __future__ import annotations

from enum import StrEnum

from ..chunks import Chunk, Cursor, Status
from ..errors import (
    ProducerFailed,
    ProducerLost,
    SessionNotFound,
    StoreUnavailable,
    StreamHubError,
)
from ..formats.endings import ending_of
from ..formats.format import Ending
from ..formats.json_text import encode as encode_json
from ..formats.ndjson import NDJSON
from ..formats.text import TEXT
from ..hub import Hub
from ..reading.subscription import Subscription
from .exits import Code, code_of
from .interrupts import Interrupted, unless_interrupted
from .output import Output
from .terminal import note, redacted

__all__ = ["Form", "tail"]


class Form(StrEnum):
    """How chunks are written."""

    TEXT = "text"
    CURSORS = "cursors"
    JSON = "json"


async def tail(
    url: str,
    session_id: str,
    *,
    after: str | None,
    batch: bool,
    wait: float | None,
    form: Form,
) -> int:
    """Write the session's chunks until it ends, say how, and answer the exit code."""
    try:
        output = Output.stdout()
    except OSError as error:
        note(str(error), style="red")
        return Code.OTHER
    reader = _Reader(url, session_id, after, form)
    async with output:
        outcome = await unless_interrupted(reader.read(output, batch, wait), output)
    return reader.conclude(outcome, output)


Outcome = Status | StreamHubError | Interrupted


class _Reader:
    def __init__(self, url: str, session_id: str, after: str | None, form: Form) -> None:
        self._url = url
        self._session_id = session_id
        self._after = after
        self._form = form
        self._subscription: Subscription | None = None
        self._chunks = 0

    async def read(
        self, output: Output, batch: bool, wait: float | None
    ) -> Status | StreamHubError:
        """Write every chunk; how the stream ended."""
        outcome = await self._follow(output, batch, wait)
        if self._form is Form.JSON:
            await output.write(self._end_line(outcome))
        await output.drain()
        return outcome

    def conclude(self, outcome: Outcome, output: Output) -> int:
        """Say how it ended and where to go on from; the exit code."""
        cursor = self._cursor(output)
        if isinstance(outcome, Interrupted):
            note(str(outcome), style="yellow")
            self._say_resume(cursor, output.partial)
            return Code.INTERRUPTED
        if isinstance(outcome, Status):
            style = "green" if outcome is Status.FINISHED else "yellow"
            note(f"{outcome} after {self._counted()}{_at(cursor)}", style=style)
            return code_of(outcome)
        match outcome:
            case ProducerFailed():
                text = f"failed after {self._counted()}{_at(cursor)}: {outcome.error}"
            case ProducerLost():
                text = f"lost after {self._counted()}: its producer gave no sign of life"
            case _:
                text = str(outcome)
        note(redacted(text, self._url), style="red")
        if cursor is not None and isinstance(outcome, ProducerLost | StoreUnavailable):
            self._say_resume(cursor, 0)
        return code_of(outcome)

    async def _follow(
        self, output: Output, batch: bool, wait: float | None
    ) -> Status | StreamHubError:
        try:
            async with Hub.from_url(self._url) as hub:
                stream = await hub.get(self._session_id, wait=wait, after=self._after)
                if stream is None:
                    return SessionNotFound(self._session_id)
                subscription = stream.subscribe(after=self._after, batch_replay=batch)
                self._subscription = subscription
                async with subscription:
                    async for chunk in subscription:
                        self._chunks += 1
                        await output.write(self._written(chunk), chunk.cursor)
                return subscription.status
        except StreamHubError as error:
            return error

    def _written(self, chunk: Chunk) -> bytes:
        match self._form:
            case Form.TEXT:
                return TEXT.chunk(chunk)
            case Form.CURSORS:
                columns = [str(chunk.cursor).encode(), encode_json(chunk.data)]
                if chunk.event is not None:
                    columns.append(encode_json(chunk.event))
                return b"\t".join(columns) + b"\n"
            case Form.JSON:
                return NDJSON.chunk(chunk)

    def _end_line(self, outcome: Status | StreamHubError) -> bytes:
        subscription = self._subscription
        cursor = None if subscription is None else subscription.cursor
        status, error = (outcome.value, "") if isinstance(outcome, Status) else ending_of(outcome)
        return NDJSON.end(Ending(status, cursor, redacted(error, self._url) or None))

    def _cursor(self, output: Output) -> Cursor | None:
        """The end of what was written."""
        if output.cursor is not None:
            return output.cursor
        subscription = self._subscription
        return subscription.cursor if subscription is not None and not self._chunks else None

    def _counted(self) -> str:
        return "1 chunk" if self._chunks == 1 else f"{self._chunks:,} chunks"

    def _say_resume(self, cursor: Cursor | None, partial: int) -> None:
        given = self._after if cursor is None else str(cursor)
        if given is None or given == "now":
            note("nothing was read yet: begin again with the same command")
            return
        note(f"resume with --after {given}")
        if partial:
            note(f"(the first {partial} bytes of the chunk after it are written already)")


def _at(cursor: Cursor | None) -> str:
    return "" if cursor is None else f", cursor {cursor}"
